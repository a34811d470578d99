"""A judgement as a table and as JSON."""

from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from d2plm_megatron.console import counted, note, one_line, show
from d2plm_megatron.evaluation.samples.bootstrap import Interval
from d2plm_megatron.evaluation.samples.homology import Neighbour
from d2plm_megatron.evaluation.samples.judgement import Judgement
from d2plm_megatron.evaluation.samples.panel import COLUMNS, SAMPLES
from d2plm_megatron.evaluation.samples.verdict import MEASURES, Measure
from d2plm_megatron.proteins import mmseqs
from d2plm_megatron.runs.versions import versions

_COLUMNS_OF_ALIGNMENT = 60
_SHOWN_WIDTH = 110


def numbers(judgement: Judgement) -> dict[str, Any]:
    """A judgement as JSON: shares and identities are from 0 to 1, entropies and divergences in nats."""
    verdict, panel = judgement.verdict, judgement.panel
    homology, families = judgement.homology, judgement.families
    return {
        "samples": str(judgement.samples),
        "reference": judgement.reference,
        "train": judgement.train,
        "judge": judgement.judge,
        "verdict": {"good": verdict.is_good, "text": verdict.text, "faults": list(verdict.faults)},
        "proteins": {
            "records": len(panel.is_canonical),
            "compared": len(panel.samples),
            "rest": len(panel.rest),
            "known": judgement.known.proteins,
            "reference_in_train": judgement.reference_in_train,
        },
        "measures": {
            measure.key: {
                name: judgement.columns[name][measure.key].as_json()
                for name in COLUMNS
                if measure.key in judgement.columns[name]
            }
            for measure in MEASURES
            if measure.key in judgement.columns[SAMPLES]
        },
        "nearest": [found.as_json() for found in homology.neighbours] if homology else None,
        "families": {family.name: family.samples for family in families.found} if families else None,
        "versions": versions("d2plm-megatron", "numpy") | ({"mmseqs2": mmseqs.version()} if homology else {}),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def print_judgement(judgement: Judgement) -> None:
    """Prints the table, the nearest known protein, and the verdict."""
    panel = judgement.panel
    table = Table(title=f"{judgement.samples}: {len(panel.samples):,} proteins, beside as many natural ones")
    table.add_column("measure")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for measure in MEASURES:
        if measure.key in judgement.columns[SAMPLES]:
            found = [judgement.columns[name].get(measure.key) for name in COLUMNS]
            mark = " *" if measure.key in judgement.verdict.faults else ""
            table.add_row(measure.label + mark, *(_cell(measure, value) for value in found))
    show(table, _SHOWN_WIDTH)
    if judgement.homology and judgement.homology.neighbours:
        print(_nearest(judgement.homology.neighbours[0]))
    if shared := judgement.reference_in_train:
        reference = len(panel.natural) + len(panel.rest)
        note(f"{shared:,} of {counted(reference, 'protein')} of the reference are in --train: hold others out")
    print(one_line(judgement.verdict.text))


def _cell(measure: Measure, found: Interval | None) -> str:
    if found is None:
        return ""
    if found.low is None or found.high is None or found.low == found.high:
        return measure.shown(found.value)
    return f"{measure.shown(found.value)} ± {measure.shown((found.high - found.low) / 2)}"


def _nearest(near: Neighbour) -> str:
    """The first columns of an alignment, under what it is of."""
    said = f"{near.identity:.0%} of {near.coverage:.0%} identical, e-value {near.e_value:.1g}"
    head = f"nearest: {near.sample} to {near.known}, {said}"
    rows = (near.alignment.rows[0], near.alignment.midline, near.alignment.rows[1])
    more = " ..." if len(near.alignment.midline) > _COLUMNS_OF_ALIGNMENT else ""
    return "\n".join([one_line(head), *(f"    {row[:_COLUMNS_OF_ALIGNMENT]}{more}" for row in rows)])
