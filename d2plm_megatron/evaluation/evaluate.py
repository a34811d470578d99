"""From a trained model and held-out proteins to a table and a JSON file."""

import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from d2plm_megatron.console import counted, note, show
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.curves import Counting, Curves
from d2plm_megatron.evaluation.floors import Floors, floors_or_why_none
from d2plm_megatron.evaluation.held_out import HeldOut, read_held_out, unigram_perplexity
from d2plm_megatron.evaluation.lengths import by_length
from d2plm_megatron.evaluation.masked import masked_perplexity
from d2plm_megatron.evaluation.pairs import Difference
from d2plm_megatron.evaluation.pseudo import Pseudo, pseudo_perplexity
from d2plm_megatron.files import write_json
from d2plm_megatron.inference.draws import Draws, Measurement, measure
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.pseudo import check_reads_masks
from d2plm_megatron.objectives import Objective
from d2plm_megatron.runs.versions import versions

WINDOWS = "of a longer protein each begins half a window after the one before, and scores what that one has not"
NOISE = "a function of the residues of a protein, the draw and the seed"


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        about: what was measured, and how, as JSON.
        held_out: the proteins.
        likelihoods: by the names that the model's process gives them, "elbo" among them, and that of masked.py.
        curves: how the guesses of "elbo" turned out.
        pseudo: where it was asked for.
        seconds: that the measuring took.
        floors: what n-grams of the training proteins reach on them, or why that is not known; on the main process.
    """

    about: dict[str, Any]
    held_out: HeldOut
    likelihoods: dict[str, Draws]
    curves: Curves
    pseudo: Pseudo | None
    seconds: float
    floors: Floors | str

    def numbers(self) -> dict[str, Any]:
        """As JSON, without what is only known of single proteins. Errors are standard errors."""
        return {
            **self.about,
            "proteins": len(self.held_out.ids),
            "residues": self.held_out.num_residues,
            "cut": self.num_cut,
            "left_out": {"longer": self.held_out.num_too_long, "without_canonical": self.held_out.num_unscored},
            "draws": self.likelihoods["elbo"].num_draws,
            "likelihoods": {name: _as_json(found) for name, found in self.likelihoods.items()},
            "pseudo": self.pseudo and {"proteins": len(self.pseudo.proteins), **_as_json(self.pseudo.draws)},
            "unigram_perplexity": unigram_perplexity(self.held_out.packs),
            "by_noise": self.curves.by_noise(),
            "calibration": self.curves.calibration(),
            "by_residue": self.curves.by_residue(),
            "by_length": by_length(self.likelihoods["elbo"], [len(letters) for letters in self.held_out.sequences]),
            **self._floors_as_json(),
            "seconds": self.seconds,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    @property
    def num_cut(self) -> int:
        """Proteins of more residues than a window."""
        return sum(len(letters) > self.about["window"] for letters in self.held_out.sequences)

    @property
    def to_best_floor(self) -> Difference | None:
        """The negative ELBO less the nats of the best n-gram, protein by protein; None where that cannot be told."""
        elbo = self.likelihoods["elbo"]
        if isinstance(self.floors, str) or elbo.standard_error is None:
            return None
        return Difference.to_one_draw(self.floors.by_name[self.floors.best], elbo)

    def _floors_as_json(self) -> dict[str, Any]:
        """Their numbers and what they were fitted to; neither where they are not known."""
        if isinstance(self.floors, str):
            return {"floors": None, "floors_of": None, "to_best_floor": None}
        by_name = {name: _as_json(found) for name, found in self.floors.by_name.items()}
        to_best = self.to_best_floor and {"floor": self.floors.best, **self.to_best_floor.as_json()}
        return {"floors": by_name, "floors_of": self.floors.about(), "to_best_floor": to_best}


def evaluate(
    model: TrainedModel, data: str, config: EvaluationConfig, known: Iterable[Floors | str] = ()
) -> Evaluation:
    """Every likelihood of the model's process on held-out proteins, with all that is needed to compare it.

    Args:
        model: to measure.
        data: a FASTA file, or the prefix of an indexed dataset.
        config: how.
        known: floors of the same proteins, which are not fitted again.

    Raises ValueError naming the protein that cannot be scored, or saying that there is nothing to score.
    """
    options = model.checkpoint.recipe.data
    if config.pseudo_proteins is not None:
        check_reads_masks(model)
    window = config.window or options.max_length_residues
    held_out = read_held_out(
        data,
        window=window,
        max_length=config.max_length,
        max_proteins=config.max_proteins,
        tokens_per_pack=config.tokens_per_pack,
    )
    floors: Floors | str = "known to the main process alone"
    if model.processes.is_main:
        floors = floors_or_why_none(config.train, options.train, held_out.sequences, known)
    begin = time.perf_counter()
    likelihoods, curves = _measured(model, held_out, config)
    pseudo = None
    if config.pseudo_proteins is not None:
        pseudo = pseudo_perplexity(model, held_out, config.pseudo_proteins, window, config.tokens_per_pack)
    about = {**_about(model), "data": data, **config.numbers(), "window": window, "windows": WINDOWS, "noise": NOISE}
    seconds = time.perf_counter() - begin
    return Evaluation(about, held_out, likelihoods, curves, pseudo, seconds, floors)


def _measured(model: TrainedModel, held_out: HeldOut, config: EvaluationConfig) -> tuple[dict[str, Draws], Curves]:
    """All likelihoods; what has been measured under another name is not measured again. And what "elbo" has guessed."""
    counting = Counting(model.likelihoods["elbo"], model.path)
    masked = masked_perplexity(model.checkpoint.recipe.objective, model.path)
    objectives: dict[str, Objective] = {**model.likelihoods, "elbo": counting, **masked}
    found: dict[str, Draws] = {}
    for name, objective in objectives.items():
        same = next((found[other] for other in found if objectives[other] == objective), None)
        until = config.until if name == "elbo" else None
        asked = Measurement(objective, held_out.packs, held_out.protein_of_part, config.seed, name)
        found[name] = same or measure(model, asked, config.num_draws, until)
    return found, counting.counted(model.processes)


def _about(model: TrainedModel) -> dict[str, Any]:
    checkpoint, on_gpu = model.checkpoint, model.processes.device.type == "cuda"
    return {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.state["progress"]["step"],
        "trained": checkpoint.state["date"],
        "objective": checkpoint.recipe.objective.name,
        "noise_is": "masks" if model.path.has_masks else "random",
        "weights": model.weights,
        "precision": model.precision,
        "processes": model.processes.world_size,
        "machine": torch.cuda.get_device_name() if on_gpu else f"{platform.machine()} CPU",
        "versions": versions("d2plm-megatron", "torch", "megatron-core"),
    }


def _as_json(found: Draws) -> dict[str, float | int | None]:
    return {
        "nats_per_residue": found.nats_per_residue,
        "standard_error": found.standard_error,
        "error_of_draws": found.error_of_draws,
        "error_of_proteins": found.error_of_proteins,
        "perplexity": found.perplexity,
        "perplexity_error": found.perplexity_error,
        "draws": found.num_draws,
    }


def print_evaluation(result: Evaluation) -> None:
    """Prints the perplexities, with both parts of their errors, beside what a context-free model reaches."""
    about, unigram = result.about, unigram_perplexity(result.held_out.packs)
    table = Table(title=f"{about['checkpoint']}, {about['weights']}, {about['precision']}")
    for column in ("measure", "perplexity", "of draws", "of proteins", "draws", "nats per residue"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, found in result.likelihoods.items():
        table.add_row(name, *_shown(found), f"{found.num_draws:,}", f"{found.nats_per_residue:.4f}")
    if result.pseudo is not None:
        found, number = result.pseudo.draws, counted(len(result.pseudo.proteins), "protein")
        table.add_row(f"pseudo, of {number}", *_shown(found), "", f"{found.nats_per_residue:.4f}")
    if isinstance(result.floors, str):
        table.add_row("unigram (no context)", f"{unigram:.3f}", *[""] * 4)
    else:
        for name, found in result.floors.by_name.items():
            table.add_row(f"{name} of training", *_shown(found), "", f"{found.nats_per_residue:.4f}")
    show(table, width=100)
    held_out = result.held_out
    print(f"{counted(len(held_out.ids), 'protein')}, {held_out.num_residues:,} residues, {result.seconds:.1f} s")
    for text in notes(result):
        note(text)


def _shown(found: Draws) -> list[str]:
    """The perplexity with its error, and the two parts of that."""
    whole, draws, proteins = errors_of_perplexity(found)
    return [f"{found.perplexity:.3f}{whole and f' +- {whole}'}", draws, proteins]


def errors_of_perplexity(found: Draws) -> list[str]:
    """Standard errors of the perplexity: the whole one, that of draws, that of proteins."""
    errors = (found.standard_error, found.error_of_draws, found.error_of_proteins)
    return ["" if error is None else f"{found.perplexity * error:.3f}" for error in errors]


def notes(result: Evaluation) -> Iterator[str]:
    """What a person should know to read the numbers."""
    about, held_out = result.about, result.held_out
    if held_out.num_too_long:
        yield f"left out {counted(held_out.num_too_long, 'protein')} of more than {about['max_length']:,} residues"
    if held_out.num_unscored:
        yield f"left out {counted(held_out.num_unscored, 'protein')} without a canonical residue"
    masked = [name for name in result.likelihoods if name.startswith("masked")]
    if masked and result.num_cut:
        yield (
            f"{counted(result.num_cut, 'protein')} of more than {about['window']:,} residues went through the model in "
            f"windows, of which the part that was scored before has no masks: {', '.join(masked)} sees more there"
        )
    elbo, until = result.likelihoods["elbo"], about["until"]
    if isinstance(result.floors, str):
        yield f"no n-gram floors: {result.floors}; name the training proteins by --train PREFIX"
    elif (found := result.to_best_floor) is not None and (found.interval is None or found.interval[1] >= 0):
        yield (
            f"less the {result.floors.best} of the training proteins the model is at {found.nats:+.4f} +- "
            f"{found.standard_error:.4f} nats per residue: it is not shown to tell more than counting does"
        )
    if elbo.error_of_draws is None:
        yield "one draw: its error cannot be told from that of the proteins; take --draws 2 or more"
    elif until is not None:
        if elbo.perplexity * elbo.error_of_draws > until:
            yield f"{elbo.num_draws:,} draws are the most, and their error is still above {until}"
        if (elbo.error_of_proteins or 0.0) > elbo.error_of_draws:
            yield "the error of the proteins is larger than that of the draws: only more proteins make it smaller"


def write_evaluation(result: dict[str, Any], path: Path) -> None:
    """Writes the result as JSON."""
    write_json(path, result)
