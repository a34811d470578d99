"""Several models on the same proteins, residues and noise: a table, what tells each from the first, and JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from d2plm_megatron.console import counted, note, show
from d2plm_megatron.evaluation.evaluate import Evaluation, errors_of_perplexity, notes
from d2plm_megatron.evaluation.pairs import Difference


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        names: of the models.
        evaluations: of each.
    """

    names: Sequence[str]
    evaluations: Sequence[Evaluation]

    @property
    def differences(self) -> list[Difference]:
        """Of each further model to the first, by the draws that both have."""
        first, *others = [evaluation.likelihoods["elbo"] for evaluation in self.evaluations]
        both = (min(first.num_draws, other.num_draws) for other in others)
        return [Difference.between(first.first(n), other.first(n)) for n, other in zip(both, others, strict=True)]

    @property
    def verdicts(self) -> list[str]:
        """Of each further model, in words."""
        first, *others = self.names
        return [found.verdict(name, first) for name, found in zip(others, self.differences, strict=True)]

    def numbers(self) -> dict[str, Any]:
        """As JSON."""
        first, *others = self.names
        rows = zip(others, self.differences, self.verdicts, strict=True)
        return {
            "models": [
                {"model": name, **evaluation.numbers()}
                for name, evaluation in zip(self.names, self.evaluations, strict=True)
            ],
            "differences": [
                {"model": name, "to": first, **found.as_json(), "verdict": verdict} for name, found, verdict in rows
            ],
        }

    def print(self) -> None:
        """Prints the perplexities, the differences to the first, and a verdict on each."""
        _print_models(self)
        _print_differences(self)
        self._print_floors()
        held_out = self.evaluations[0].held_out
        print(f"{counted(len(held_out.ids), 'protein')}, {held_out.num_residues:,} residues, the same for all")
        for verdict in self.verdicts:
            print(verdict)
        for name, evaluation in zip(self.names, self.evaluations, strict=True):
            for text in notes(evaluation):
                note(f"{name}: {text}")

    def _print_floors(self) -> None:
        """Of each training data once."""
        found = [one.floors for one in self.evaluations if not isinstance(one.floors, str)]
        for floors in {one.train: one for one in found}.values():
            told = ", ".join(f"{name} {draws.perplexity:.3f}" for name, draws in floors.by_name.items())
            print(f"perplexity by n-grams of {floors.train}: {told}")


def _print_models(comparison: Comparison) -> None:
    table = Table(title="ELBO perplexity")
    for column in ("model", "perplexity", "standard error", "of draws", "of proteins", "nats per residue"):
        table.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
    for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True):
        found = evaluation.likelihoods["elbo"]
        table.add_row(name, f"{found.perplexity:.3f}", *errors_of_perplexity(found), f"{found.nats_per_residue:.4f}")
    show(table, width=120)


def _print_differences(comparison: Comparison) -> None:
    first, *others = comparison.names
    table = Table(title=f"less {first}, nats per residue")
    columns = ("model", "difference", "standard error", "of draws", "of proteins", "95%", "proteins better")
    for column in columns:
        table.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
    for name, found in zip(others, comparison.differences, strict=True):
        errors = (found.standard_error, found.draws.error_of_draws, found.draws.error_of_proteins)
        shown = ["" if error is None else f"{error:.4f}" for error in errors]
        interval = "" if found.interval is None else "{:+.4f} to {:+.4f}".format(*found.interval)
        table.add_row(name, f"{found.nats:+.4f}", *shown, interval, f"{found.share_better:.0%}")
    show(table, width=120)
