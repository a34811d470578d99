"""The effects of mutations, table by table: scores beside what was given, and how they rank what was measured."""

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.files import write_text
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.spread import shared_progress
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.tables import read_table, write_table
from d2plm_megatron.scoring.assays import Assay
from d2plm_megatron.scoring.correlation import Spearman, spearman
from d2plm_megatron.scoring.effects import COLUMNS, check_methods, log_odds, methods_of, score
from d2plm_megatron.scoring.likelihoods import elbo_differences
from d2plm_megatron.scoring.mutants import Mutant
from d2plm_megatron.scoring.proteingym import Found, Reference, means
from d2plm_megatron.scoring.shown import show_correlations
from d2plm_megatron.scoring.work import ELBO, Work

ERROR = "elbo_difference_error"
DIGITS = 6
"""Behind the point, of nats in tables."""


@dataclass(frozen=True)
class Request:
    """How mutants are scored.

    Attributes:
        methods: of effects.COLUMNS.
        draws: of noise, for the ELBO.
        seed: of that noise.
        longest: residues that a model is shown at once.
        tokens_per_pack: that go through it at once.
    """

    methods: tuple[str, ...]
    draws: int
    seed: int
    longest: int
    tokens_per_pack: int

    @property
    def columns(self) -> list[str]:
        """What is filled beside the table's own columns."""
        return [*(COLUMNS[method] for method in self.methods), *[ERROR] * (ELBO in self.methods and self.draws > 1)]


def score_assay(model: TrainedModel, assay: Assay, request: Request, output: Path) -> dict[str, Spearman]:
    """Writes the table with the scores of its mutants, and tells how each method ranks what was measured.

    Raises ValueError for a column that is there already.
    """
    if taken := [column for column in request.columns if column in assay.columns]:
        raise ValueError(f"{assay.path}: has a column {taken[0]} already; remove it, or give the table without scores")
    measured, found = assay.content.measured, []
    columns = {**dict.fromkeys(assay.columns, str), **dict.fromkeys(request.columns, float)}
    with write_table(output, columns) if model.processes.is_main else nullcontext(_unwritten) as write:
        rows = zip(assay.rows(), _scores(model, assay, request), strict=True)
        for (line, _), scores in rows:
            write((*line.values.values(), *scores))
            found.append(scores[: len(request.methods)])
    if assay.score_column is None:
        return {}
    by_method = np.array(found, dtype=np.float64).T
    return {method: spearman(values, measured) for method, values in zip(request.methods, by_method, strict=True)}


def _unwritten(row: Sequence[Any]) -> None:
    """Stands for the table in other processes."""


def _scores(model: TrainedModel, assay: Assay, request: Request) -> Iterator[list[float]]:
    """Of each row what fills the request's columns."""
    places = assay.content.places
    tables = {
        method: odds_of(model, assay.wild_type, places, request, method) for method in request.methods if method != ELBO
    }
    differences = _differences(model, assay, request) if ELBO in request.methods else None
    for _, mutant in assay.rows():
        draws = next(differences) if differences else np.empty(0)
        yield _row(mutant, tables, draws, request)
    if differences:  # so that its bar ends
        next(differences, None)


def _row(mutant: Mutant, tables: dict[str, np.ndarray], draws: np.ndarray, request: Request) -> list[float]:
    values = [score(mutant, tables[method]) if method in tables else float(draws.mean()) for method in request.methods]
    if ERROR in request.columns:
        values.append(float(draws.std(ddof=1) / np.sqrt(len(draws))))
    return [round(value, DIGITS) for value in values]


def odds_of(model: TrainedModel, wild_type: str, places: Sequence[int], request: Request, method: str) -> np.ndarray:
    """The log odds of all residues at places of a wild type, [L, 20]; see effects.log_odds."""
    residues = alphabet.encode(wild_type)
    with shared_progress(f"{method} marginals", len(places), "positions", model.processes) as advance:
        return log_odds(model, method, residues, places, request.longest, request.tokens_per_pack, advance)


def _differences(model: TrainedModel, assay: Assay, request: Request) -> Iterator[np.ndarray]:
    total = len(assay.content.measured)
    with shared_progress("ELBO of mutants", total, "mutants", model.processes) as advance:
        yield from elbo_differences(
            model, assay, request.draws, request.seed, request.longest, request.tokens_per_pack, advance
        )


def score_folder(
    model: TrainedModel, assays: Sequence[tuple[Reference, Assay]], request: Request, output: Path
) -> Found:
    """Writes OUTPUT/NAME.csv of each assay, summary.csv of their correlations and summary.json of their means.

    Assays whose scores are there already, by the same model and request, are not scored again.
    Raises ValueError where the folder holds those of others.
    """
    _claim(model, request, output)
    found: Found = []
    for reference, assay in assays:
        path = output / f"{reference.name}.csv"
        done = path.is_file()
        found.append((reference, _read(path, assay, request) if done else score_assay(model, assay, request, path)))
        if model.processes.is_main and not done:
            print(path, flush=True)
    if model.processes.is_main:
        _write_summary(found, request, output)
    return found


def _claim(model: TrainedModel, request: Request, output: Path) -> None:
    """Notes whose scores a folder holds."""
    step = model.checkpoint.state["progress"]["step"]
    checkpoint = {"checkpoint": str(model.checkpoint.path), "step": step, "weights": model.weights}
    settings = json.dumps({**checkpoint, "precision": model.precision, **asdict(request)}, indent=1) + "\n"
    path = output / "settings.json"
    if path.exists() and path.read_text(encoding="utf-8") != settings:
        raise ValueError(f"{output}: holds scores by another model, or in another way (settings.json); name another")
    if model.processes.is_main and not path.exists():
        write_text(path, settings)


def _read(path: Path, assay: Assay, request: Request) -> dict[str, Spearman]:
    """What was found of an assay that is done."""
    if assay.score_column is None:
        return {}
    names = [COLUMNS[method] for method in request.methods]
    values = [[float(line.values[name]) for name in names] for line in read_table(path, names)]
    by_method = np.array(values).T
    measured = assay.content.measured
    return {method: spearman(found, measured) for method, found in zip(request.methods, by_method, strict=True)}


def _write_summary(found: Found, request: Request, output: Path) -> None:
    own = [f"{COLUMNS[method]}_{name}" for method in request.methods for name in ("spearman", "low", "high")]
    columns = {"assay": str, "protein": str, "function": str, "mutants": int, **dict.fromkeys(own, float)}
    with write_table(output / "summary.csv", columns) as write:
        for reference, by_method in found:
            if by_method:
                values = [value for one in by_method.values() for value in one[:3]]
                mutants = next(iter(by_method.values())).pairs
                write((reference.name, reference.protein, reference.function, mutants, *values))
    of_methods = {method: means(found, method) for method in request.methods}
    write_text(output / "summary.json", json.dumps(of_methods, indent=1) + "\n")


def perform(model: TrainedModel, work: Work, request: Request) -> None:
    """Writes all that was asked for, and prints what came of it; without methods, by the one that suits the model."""
    check_methods(model, request.methods)
    request = request if request.methods else replace(request, methods=(methods_of(model)[0],))
    if work.heat_map and work.wild_type:
        _draw(model, work.wild_type, work.heat_map, work.offset, request)
    is_main, found = model.processes.is_main, []
    if work.is_folder and work.output:
        found = score_folder(model, work.assays, request, work.output)
    elif work.output:
        [(reference, assay)] = work.assays
        found = [(reference, score_assay(model, assay, request, work.output))]
    if is_main and work.output:
        show_correlations(found)
        print(work.output)


def _draw(model: TrainedModel, wild_type: str, path: Path, offset: int, request: Request) -> None:
    from d2plm_megatron.scoring.heat_map import write_heat_map  # with matplotlib, which not every table needs

    method = next((method for method in (*request.methods, *methods_of(model)) if method != ELBO), None)
    if method is None:
        raise ValueError(
            f"--heat-map: of {model.checkpoint.path} the ELBO alone can be had, which is of whole proteins"
        )
    odds = odds_of(model, wild_type, range(len(wild_type)), request, method)
    if model.processes.is_main:
        step = model.checkpoint.state["progress"]["step"]
        write_heat_map(path, wild_type, odds, offset, f"{method} marginals, {model.checkpoint.path}, step {step}")
        print(path)
