"""Results as one HTML file that needs nothing else: styles and pictures are inside, and there are no scripts."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from d2plm_megatron.evaluation.samples.novelty import count_families
from d2plm_megatron.proteins import residue_classes
from d2plm_megatron.proteins.alignment import GAP, Alignment
from d2plm_megatron.proteins.composition import entropy
from d2plm_megatron.report import figures, formatting
from d2plm_megatron.report.results import Results, numbers
from d2plm_megatron.report.verdicts import verdicts

MAX_SAMPLES = 20
"""Samples that are shown with their sequence."""

_GROUP_RESIDUES = 10
_LINE_COLUMNS = 60
Runs = list[tuple[int | None, str]]
"""Letters cut where the kind of residue changes; see residue_classes.runs."""


def render(results: Results, page: Path) -> str:
    """The report as HTML, for a file of this path. Whatever comes from files is escaped."""
    environment = Environment(
        loader=PackageLoader("d2plm_megatron", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    unigram = results.unigram_perplexity
    environment.filters |= {"in_words": formatting.in_words, "percent": formatting.percent}
    return environment.get_template("page.html").render(
        **_texts(results),
        numbers=numbers(results),
        pictures=_pictures(results, unigram),
        has_baseline=unigram is not None,
        verdicts=verdicts(results),
        samples=list(_sample_rows(results)),
        samples_link=_link(results.samples.path, page) if results.samples else None,
        alignments=list(_alignments(results)),
        left_out=results.left_out,
        kinds=residue_classes.KINDS,
        recipe=results.run.recipe_text,
    )


def _texts(results: Results) -> dict[str, Any]:
    return {
        "objective": formatting.objective(results.run.recipe.objective.name),
        "perplexities": {
            name: formatting.with_error(found["perplexity"], found["perplexity_standard_error"])
            for name, found in results.likelihoods.items()
        },
        "checkpoints": formatting.of_checkpoints(results.checkpoints),
        "written": _date(datetime.now(UTC).isoformat()),
        "trained": _date(results.run.last_activity),
        "evaluated": _date(results.evaluation["date"] if results.evaluation else None),
    }


def _link(target: Path, page: Path) -> str:
    """A relative link from the page to a file, in which nothing can be taken for a scheme."""
    return quote(os.path.relpath(target.resolve(), page.resolve().parent))


def _date(moment: str | None) -> str | None:
    """20 November 2026, from ISO 8601."""
    return f"{datetime.fromisoformat(moment):%-d %B %Y}" if moment else None


def _pictures(results: Results, unigram: float | None) -> dict[str, str]:
    """The pictures that there is something for, by name."""
    pictures = {}
    if results.run.metrics:
        pictures["perplexity"] = figures.perplexity_curve(results.run.metrics, unigram)
        pictures["optimizer"] = figures.optimizer_curve(results.run.metrics)
    if results.samples is not None:
        reference = results.reference.summary if results.reference else None
        pictures["lengths"] = figures.length_histogram(results.samples.summary, reference)
        pictures["composition"] = figures.composition_bars(results.samples.summary, reference)
    if results.novelty is not None and results.reference is not None:
        pictures["identity"] = figures.identity_histogram(results.novelty)
        has_families = any(protein.family for protein in results.reference.proteins)
        if has_families and results.novelty.is_recognised.any():
            families = count_families(results.novelty, results.reference.proteins)
            unrecognised = int((~results.novelty.is_recognised).sum())
            pictures["families"] = figures.family_bars(families, unrecognised)
    return pictures


def _sample_rows(results: Results) -> Iterator[dict[str, Any]]:
    """The samples to show, the best first: the nearest to a reference or, without one, the least repetitive."""
    if results.samples is None:
        return
    proteins = results.samples.proteins
    by_entropy = sorted(range(len(proteins)), key=lambda number: -entropy(proteins[number].sequence))
    for number in (results.novelty.ranked() if results.novelty else by_entropy)[:MAX_SAMPLES]:
        sample, letters = proteins[number], proteins[number].sequence
        groups = [letters[i : i + _GROUP_RESIDUES] for i in range(0, len(letters), _GROUP_RESIDUES)]
        row = {"name": sample.name, "length": len(letters), "groups": [residue_classes.runs(group) for group in groups]}
        if results.novelty is not None and results.reference is not None:
            found = results.novelty.nearest[number]
            row["identity"] = found.alignment.identity
            row["recognised"] = bool(results.novelty.is_recognised[number])
            row["nearest"] = results.reference.proteins[found.number]
        yield row


def _alignments(results: Results) -> Iterator[dict[str, Any]]:
    """The samples with the highest and with the median identity, each beside its nearest reference."""
    if results.novelty is None or results.samples is None or results.reference is None:
        return
    ranked = results.novelty.ranked()
    chosen = {"Highest identity": ranked[0], "Median identity": ranked[len(ranked) // 2]}
    for title, number in chosen.items():
        found = results.novelty.nearest[number]
        yield {
            "title": title,
            "sample": results.samples.proteins[number],
            "nearest": results.reference.proteins[found.number],
            "alignment": found.alignment,
            "lines": list(_lines(found.alignment)),
        }


@dataclass(frozen=True)
class Line:
    """Up to 60 columns of an alignment; positions count from 1, over the residues of one protein.

    Attributes:
        first, last: positions in sample and reference.
        rows: sample and reference, coloured.
        midline: identical and similar residues.
    """

    first: tuple[int, int]
    rows: tuple[Runs, Runs]
    midline: str
    last: tuple[int, int]


def _lines(alignment: Alignment) -> Iterator[Line]:
    first = (alignment.starts[0] + 1, alignment.starts[1] + 1)
    for begin in range(0, len(alignment.midline), _LINE_COLUMNS):
        columns = slice(begin, begin + _LINE_COLUMNS)
        sample, reference = (row[columns] for row in alignment.rows)
        after = (first[0] + _num_residues(sample), first[1] + _num_residues(reference))
        rows = (residue_classes.runs(sample), residue_classes.runs(reference))
        yield Line(first, rows, alignment.midline[columns], (after[0] - 1, after[1] - 1))
        first = after


def _num_residues(row: str) -> int:
    return len(row) - row.count(GAP)
