"""From a trained model and held-out proteins to a table and a JSON file."""

import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from d2plm_megatron.console import counted, note, show
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.draws import Draws, measure
from d2plm_megatron.evaluation.held_out import HeldOut, read_held_out, unigram_perplexity
from d2plm_megatron.files import write_text
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.runs.versions import versions

WINDOWS = "of a longer protein each begins half a window after the one before, and scores what that one has not"
NOISE = "a function of the residues of a protein, the draw and the seed"


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        about: what was measured, and how, as JSON.
        held_out: the proteins.
        likelihoods: by the names that the model's process gives them; "elbo" is among them.
        seconds: that the measuring took.
    """

    about: dict[str, Any]
    held_out: HeldOut
    likelihoods: dict[str, Draws]
    seconds: float

    def numbers(self) -> dict[str, Any]:
        """As JSON, without what is only known of single proteins. Errors are standard errors."""
        return {
            **self.about,
            "proteins": len(self.held_out.ids),
            "residues": self.held_out.num_residues,
            "left_out": {"longer": self.held_out.num_too_long, "without_canonical": self.held_out.num_unscored},
            "draws": self.likelihoods["elbo"].num_draws,
            "likelihoods": {name: _as_json(found) for name, found in self.likelihoods.items()},
            "unigram_perplexity": unigram_perplexity(self.held_out.packs),
            "seconds": self.seconds,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def evaluate(model: TrainedModel, data: str, config: EvaluationConfig) -> Evaluation:
    """Every likelihood of the model's process on held-out proteins, with all that is needed to compare it.

    Args:
        model: to measure.
        data: a FASTA file, or the prefix of an indexed dataset.
        config: how.

    Raises ValueError naming the protein that cannot be scored, or saying that there is nothing to score.
    """
    options = model.checkpoint.recipe.data
    window = config.window or options.max_length_residues
    held_out = read_held_out(
        data,
        window=window,
        max_length=config.max_length,
        max_proteins=config.max_proteins,
        tokens_per_pack=options.tokens_per_pack,
    )
    begin = time.perf_counter()
    likelihoods = {
        name: measure(model, likelihood, held_out, config.num_draws, config.seed, config.until, name)
        for name, likelihood in model.likelihoods.items()
    }
    about = {**_about(model), "data": data, **config.numbers(), "window": window, "windows": WINDOWS, "noise": NOISE}
    return Evaluation(about, held_out, likelihoods, time.perf_counter() - begin)


def _about(model: TrainedModel) -> dict[str, Any]:
    checkpoint, on_gpu = model.checkpoint, model.processes.device.type == "cuda"
    return {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.state["progress"]["step"],
        "objective": checkpoint.recipe.objective.name,
        "weights": model.weights,
        "precision": model.precision,
        "processes": model.processes.world_size,
        "machine": torch.cuda.get_device_name() if on_gpu else f"{platform.machine()} CPU",
        "versions": versions("d2plm-megatron", "torch", "megatron-core"),
    }


def _as_json(found: Draws) -> dict[str, float | int | None]:
    return {
        "nll_per_residue": found.nats_per_residue,
        "nll_standard_error": found.standard_error,
        "error_of_draws": found.error_of_draws,
        "error_of_proteins": found.error_of_proteins,
        "perplexity": found.perplexity,
        "perplexity_standard_error": found.perplexity_error,
        "draws": found.num_draws,
    }


def print_evaluation(result: Evaluation) -> None:
    """Prints the perplexities, with both parts of their errors, beside what a context-free model reaches."""
    about, unigram = result.about, unigram_perplexity(result.held_out.packs)
    table = Table(title=f"{about['checkpoint']}, {about['weights']}, {about['precision']}")
    for column in ("measure", "perplexity", "of draws", "of proteins", "draws", "nats per residue"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, found in result.likelihoods.items():
        whole, draws, proteins = _errors(found)
        shown = f"{found.perplexity:.3f}{whole and f' +- {whole}'}"
        table.add_row(name, shown, draws, proteins, f"{found.num_draws:,}", f"{found.nats_per_residue:.4f}")
    table.add_row("unigram (no context)", f"{unigram:.3f}", *[""] * 4)
    show(table, width=100)
    held_out = result.held_out
    print(f"{counted(len(held_out.ids), 'protein')}, {held_out.num_residues:,} residues, {result.seconds:.1f} s")
    for text in _notes(result):
        note(text)


def _errors(found: Draws) -> list[str]:
    """Standard errors of the perplexity: the whole one, that of draws, that of proteins."""
    errors = (found.standard_error, found.error_of_draws, found.error_of_proteins)
    return ["" if error is None else f"{found.perplexity * error:.3f}" for error in errors]


def _notes(result: Evaluation) -> Iterator[str]:
    """What a person should know to read the numbers."""
    about, held_out = result.about, result.held_out
    if held_out.num_too_long:
        yield f"left out {counted(held_out.num_too_long, 'protein')} of more than {about['max_length']:,} residues"
    if held_out.num_unscored:
        yield f"left out {counted(held_out.num_unscored, 'protein')} without a canonical residue"
    elbo, until = result.likelihoods["elbo"], about["until"]
    if elbo.error_of_draws is None:
        yield "one draw: its error cannot be told from that of the proteins; take --draws 2 or more"
    elif until is not None:
        if elbo.perplexity * elbo.error_of_draws > until:
            yield f"{elbo.num_draws:,} draws are the most, and their error is still above {until}"
        if (elbo.error_of_proteins or 0.0) > elbo.error_of_draws:
            yield "the error of the proteins is larger than that of the draws: only more proteins make it smaller"


def write_evaluation(result: dict[str, Any], path: Path) -> None:
    """Writes the result as JSON."""
    write_text(path, json.dumps(result, indent=1) + "\n")
