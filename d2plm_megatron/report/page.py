"""Results as one HTML file that needs nothing else: styles and pictures are inside, and there are no scripts."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from d2plm_megatron.evaluation.samples.novelty import count_families
from d2plm_megatron.proteins import residue_classes
from d2plm_megatron.report import evaluation_figures, figures, formatting
from d2plm_megatron.report.cards import cards
from d2plm_megatron.report.effects import METHODS
from d2plm_megatron.report.evaluation_record import Number
from d2plm_megatron.report.results import Results, numbers
from d2plm_megatron.report.samples import MAX_SAMPLES, Listing, Sample, list_samples

MOST_ASSAYS = 60
"""That a page lists; the table has all."""


def render(results: Results, page: Path) -> str:
    """The report as HTML, for a file of this path. Whatever comes from files is escaped."""
    environment = Environment(
        loader=PackageLoader("d2plm_megatron", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formatting, name) for name in ("in_words", "percent", "cell", "half_width")}
    environment.filters["with_error"] = lambda number: formatting.with_error(*number)
    listing = list_samples(results)
    return environment.get_template("page.html").render(
        **_texts(results),
        **_of_run(results),
        results=results,
        numbers=numbers(results),
        pictures=_pictures(results),
        cards=cards(results),
        listing=listing,
        alignments=_alignments(listing),
        samples_link=_link(results.samples.path, page) if results.samples else None,
        max_samples=MAX_SAMPLES,
        methods=METHODS,
        most_assays=MOST_ASSAYS,
        heat_maps=[(found, evaluation_figures.of_heat_map(found)) for found in results.beside.heat_maps],
        comparisons=[(one, evaluation_figures.of_evaluations(one.models)) for one in results.beside.comparisons],
        kinds=residue_classes.KINDS,
    )


def _texts(results: Results) -> dict[str, Any]:
    evaluation = results.evaluation.numbers if results.evaluation else None
    return {
        "title": results.name,
        "checkpoints": formatting.of_checkpoints(results.checkpoints),
        "written": _date(datetime.now(UTC).isoformat()),
        "trained": _date(results.run.last_activity if results.run else None),
        "evaluated": _date(evaluation["date"] if evaluation else None),
        "rows": _perplexity_rows(results),
    }


def _of_run(results: Results) -> dict[str, Any]:
    """What is told of the run itself."""
    if results.run is None:
        return {"objective": None, "facts": {}, "recipe": None, "learnt": None}
    recipe, run = results.run.recipe, results.run
    model, optimizer = recipe.model, recipe.optimizer
    machine = results.evaluation.numbers["machine"] if results.evaluation else None
    shape = f"{model.num_layers} layers of {model.hidden_size}, {model.num_attention_heads} heads"
    facts = {
        "model": shape + (", told the time" if model.time_conditioning else ""),
        "training data": recipe.data.train or "not named",
        "held-out data": recipe.data.validation or "none",
        "longest protein seen whole": f"{recipe.data.max_length_residues:,} residues",
        "tokens per step": f"{recipe.train.global_batch_tokens:,}",
        "learning rate": f"{optimizer.lr:g}, {optimizer.schedule}, {optimizer.warmup_steps:,} steps of warm-up",
        "precision": recipe.train.precision,
        **({"evaluated on": machine} if machine else {}),
        **({"versions": ", ".join(map(" ".join, run.state["versions"].items()))} if run.state else {}),
    }
    return {
        "objective": formatting.objective(recipe.objective.name),
        "facts": facts,
        "recipe": run.recipe_text,
        "learnt": _learnt(results),
    }


def _learnt(results: Results) -> str | None:
    """Where the lowest validation loss is: at the end, or before."""
    lines = results.run.metrics if results.run else []
    name = "elbo_perplexity"
    points = [(line[name], line["step"]) for line in lines if line["kind"] == "validation" and name in line]
    if len(points) < 2:
        return None
    (lowest, step), last = min(points), points[-1][1]
    place = "at the end: it may fall on with more steps" if step == last else f"and rose until step {last:,}"
    return f"The lowest validation perplexity is {lowest:.2f}, of step {step:,}, {place}."


def _perplexity_rows(results: Results) -> list[dict[str, Any]]:
    """The model's perplexities and what they are measured against, as rows with a bar each, 1 to 20."""
    if results.evaluation is None:
        return []
    own, floors = results.evaluation.perplexities, results.evaluation.floors
    rows = [("this model", own["elbo"], "own")]
    rows += [(f"{name} of the training proteins", number, "floor") for name, number in floors.items()]
    rows.append(("without context", Number(results.evaluation.unigram, None), "floor"))
    rows += [
        (f"this model, {formatting.LIKELIHOODS.get(name, name)}", number, "other")
        for name, number in own.items()
        if name != "elbo"
    ]
    return [
        {"name": name, "text": formatting.with_error(*number), "kind": kind, "width": _share_of_scale(number.value)}
        for name, number, kind in rows
    ]


def _share_of_scale(perplexity: float) -> str:
    """Of a scale from 1 to 20, in per cent."""
    return f"{min(max((perplexity - 1) / 0.19, 0.0), 100.0):.1f}"


def _link(target: Path, page: Path) -> str:
    """A relative link from the page to a file, in which nothing can be taken for a scheme."""
    return quote(os.path.relpath(target.resolve(), page.resolve().parent))


def _date(moment: str | None) -> str | None:
    """20 November 2026, from ISO 8601."""
    return f"{datetime.fromisoformat(moment):%-d %B %Y}" if moment else None


def _pictures(results: Results) -> dict[str, str]:
    """The pictures that there is something for, by name."""
    pictures = {}
    if results.run is not None and results.run.metrics:
        pictures["perplexity"] = figures.perplexity_curve(results.run.metrics, results.unigram_perplexity)
        pictures["optimizer"] = figures.optimizer_curve(results.run.metrics)
    if results.evaluation is not None:
        pictures |= evaluation_figures.of_evaluations([(results.name, results.evaluation)])
    if results.judgement is not None and results.judgement.picture:
        pictures["judgement"] = evaluation_figures.embedded(results.judgement.picture)
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


def _alignments(listing: Listing | None) -> dict[str, Sample]:
    """The samples with the highest and with the median identity."""
    near: Sequence[Sample] = [sample for sample in (listing.shown if listing else []) if sample.neighbour]
    ranked = sorted(near, key=lambda sample: -sample.neighbour.identity if sample.neighbour else 0.0)
    return {"Highest identity": ranked[0], "Median identity": ranked[len(ranked) // 2]} if ranked else {}
