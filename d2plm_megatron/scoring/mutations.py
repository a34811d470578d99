"""The effects of mutations, table by table: scores beside what was given, and how they rank what was measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.files import write_json
from d2plm_megatron.inference.draws import Draws
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.spread import by_main, shared_progress
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.tables import read_table, write_table
from d2plm_megatron.runs.requested import write_request
from d2plm_megatron.scoring.assays import MUTANT, Assay
from d2plm_megatron.scoring.correlation import Spearman, spearman
from d2plm_megatron.scoring.effects import check_methods, log_odds, methods_of, score
from d2plm_megatron.scoring.likelihoods import elbo_differences
from d2plm_megatron.scoring.mutants import Mutant
from d2plm_megatron.scoring.proteingym import SUMMARY, Found, means
from d2plm_megatron.scoring.shown import show_correlations
from d2plm_megatron.scoring.work import COLUMNS, ELBO, ERROR, MEANS, SETTINGS, Request, Work

DIGITS = 6
"""Behind the point, of nats in tables."""


def score_assay(model: TrainedModel, assay: Assay, request: Request, output: Path) -> dict[str, Spearman]:
    """Writes the table with the scores of its mutants, and tells how each method ranks what was measured.

    Raises ValueError for a column that is there already.
    """
    if taken := [column for column in request.columns if column in assay.columns]:
        raise ValueError(f"{assay.path}: has a column {taken[0]} already; remove it, or give the table without scores")
    measured, found = assay.content.measured, []
    columns = {**assay.content.columns, **dict.fromkeys(request.columns, float)}
    with by_main(write_table(output, columns), model.processes) as write:
        rows = zip(assay.rows(), _scores(model, assay, request), strict=True)
        for (line, _), scores in rows:
            write((*line.values.values(), *scores))
            found.append(scores[: len(request.methods)])
    if assay.score_column is None:
        return {}
    by_method = np.array(found, dtype=np.float64).T
    return {method: spearman(values, measured) for method, values in zip(request.methods, by_method, strict=True)}


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
        values.append(Draws(draws[None], np.ones((1, len(draws)), dtype=np.int64)).error_of_draws or 0.0)
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
            model, assay, request.num_draws, request.seed, request.longest, request.tokens_per_pack, advance
        )


def score_folder(
    model: TrainedModel, work: Work, request: Request, output: Path, told: Mapping[str, Any], overwrite: bool
) -> Found:
    """Writes OUTPUT/NAME.csv of each assay, summary.csv of their correlations and summary.json of their means.

    Assays whose scores are there already are not scored again, unless they are to be overwritten.
    Raises ValueError for a table that holds other mutants than it should.
    """
    if model.processes.is_main:
        for path in work.tables(output) if overwrite else ():
            path.unlink(missing_ok=True)
        write_request(output / SETTINGS, told)
    found: Found = []
    for (reference, assay), path in zip(work.assays, work.tables(output), strict=True):
        done = path.is_file() and not overwrite
        found.append((reference, _read(path, assay, request) if done else score_assay(model, assay, request, path)))
        if model.processes.is_main and not done:
            print(path, flush=True)
    if model.processes.is_main:
        _write_summary(found, request, output)
    return found


def _read(path: Path, assay: Assay, request: Request) -> dict[str, Spearman]:
    """What was found of an assay that is done."""
    names = [COLUMNS[method] for method in request.methods]
    lines = list(read_table(path, [MUTANT, *names]))
    if [line.values[MUTANT] for line in lines] != [line.values[MUTANT] for line, _ in assay.rows()]:
        raise ValueError(f"{path}: holds other mutants than {assay.path}; remove it, or give --overwrite")
    values = [[float(line.values[name]) for name in names] for line in lines]
    if assay.score_column is None:
        return {}
    by_method = np.array(values).T
    measured = assay.content.measured
    return {method: spearman(found, measured) for method, found in zip(request.methods, by_method, strict=True)}


def _write_summary(found: Found, request: Request, output: Path) -> None:
    own = [f"{COLUMNS[method]}_{name}" for method in request.methods for name in ("spearman", "low", "high")]
    columns = {"assay": str, "protein": str, "function": str, "mutants": int, **dict.fromkeys(own, float)}
    with write_table(output / SUMMARY, columns) as write:
        for reference, by_method in found:
            if by_method:
                values = [value for one in by_method.values() for value in one[:3]]
                mutants = next(iter(by_method.values())).pairs
                write((reference.name, reference.protein, reference.function, mutants, *values))
    of_methods = {method: means(found, method) for method in request.methods}
    write_json(output / MEANS, of_methods)


def perform(model: TrainedModel, work: Work, request: Request, told: Mapping[str, Any], overwrite: bool) -> None:
    """Writes all that was asked for, and prints what came of it.

    Args:
        model: to ask.
        work: tables and a heat map.
        request: how; without methods by the one that suits the model.
        told: all that decides what is written, as JSON, which a folder keeps.
        overwrite: the tables of a folder that are there.

    Raises ValueError for what means nothing for the model.
    """
    check_methods(model, request.methods)
    request = replace(request, methods=request.methods or (methods_of(model)[0],))
    if request.draws is not None and ELBO not in request.methods:
        raise ValueError("--draws: goes with --method elbo, which is missing")
    if work.heat_map and work.wild_type:
        _draw(model, work.wild_type, work.heat_map, work.offset, request)
    is_main, found = model.processes.is_main, []
    if work.is_folder and work.output:
        found = score_folder(model, work, request, work.output, told, overwrite)
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
