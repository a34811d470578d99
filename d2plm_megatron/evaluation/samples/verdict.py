"""Measures of generated proteins, in the order in which they count, and what they mean, by rules that can be checked.

A measure is off when the samples are worse than as many natural proteins by more than three standard errors of the
difference (more of few proteins, by Student's t), and by more than its margin: what is certain and small is no fault.
One protein has no error, and is not judged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from d2plm_megatron.console import counted
from d2plm_megatron.evaluation.samples.bootstrap import Interval, reach
from d2plm_megatron.evaluation.samples.panel import NATURAL, SAMPLES

DEVIATIONS = 3
FEW = 50
"""Fewer proteins than this do not show that nothing is wrong."""

HIGHER, LOWER = 1, -1
SHARE, WHOLE, NUMBER, FINE = "share", "whole", "number", "fine"
_DIGITS = {WHOLE: 0, NUMBER: 2, FINE: 4}


@dataclass(frozen=True)
class Measure:
    """A measure of proteins, and when it is off.

    Attributes:
        key: in judge.json.
        label: in the table.
        kind: SHARE, of 1, shown as a percentage; WHOLE without digits; NUMBER with two; FINE with four.
        worse: HIGHER or LOWER; None for what is told and not judged.
        margin: by how much the samples must be worse than natural proteins to be at fault.
        relative: likewise, as a share of the natural proteins' value; both together count.
        fault: what is wrong with such samples.
    """

    key: str
    label: str
    kind: str
    worse: int | None = None
    margin: float = 0.0
    relative: float = 0.0
    fault: str = ""

    def shown(self, value: float) -> str:
        """A value as people read it."""
        return f"{100 * value:.1f}%" if self.kind == SHARE else f"{value:.{_DIGITS[self.kind]}f}"


MEASURES = (
    Measure("canonical", "canonical residues alone", SHARE, LOWER, 0.01, 0, "some hold letters that are no residue"),
    Measure("low_complexity", "low complexity (SEG)", SHARE, HIGHER, 0.05, 0, "much of them is of low complexity"),
    Measure("tandem_repeats", "tandem repeats", SHARE, HIGHER, 0.02, 0, "they repeat themselves in tandem"),
    Measure("copies", "copies of known proteins", SHARE, HIGHER, 0.05, 0, "they copy known proteins letter by letter"),
    Measure("near_copies", "nearly known proteins", SHARE, HIGHER, 0.1, 0, "they nearly copy known proteins"),
    Measure("distinct", "different proteins", SHARE, LOWER, 0.05, 0, "the same proteins come again and again"),
    Measure("clusters_90", "clusters at 90%", SHARE, LOWER, 0.1, 0, "many of them are nearly the same"),
    Measure("clusters_50", "clusters at 50%", SHARE, LOWER, 0.2, 0, "they are of few kinds"),
    Measure("ngram_1_divergence", "divergence of residues", FINE, HIGHER, 0.002, 0, "their residues have other shares"),
    Measure(
        "order_information", "told by order (nats)", FINE, LOWER, 0, 0.5, "their residues stand in no natural order"
    ),
    *(
        Measure(
            f"ngram_{order}_divergence",
            f"divergence of {order}-grams",
            FINE,
            HIGHER,
            0.0005 if order == 2 else 0.002,
            fault=f"their residues do not follow one another as in nature ({order}-grams)",
        )
        for order in (2, 3, 4)
    ),
    Measure("token_entropy", "entropy of residues (nats)", FINE, LOWER, 0.05, 0, "few residues make up most of them"),
    Measure(
        "entropy_within", "entropy within a protein (nats)", FINE, LOWER, 0.1, 0, "few residues make up each of them"
    ),
    Measure("recognised", "members of a family", SHARE, LOWER, 0.2, 0, "few belong to a family of the reference"),
    Measure("families", "families", WHOLE),
    Measure("homologs", "with a known homolog", SHARE, LOWER, 0.2, 0, "they resemble nothing that is known"),
    Measure("nearest_identity", "identity to the nearest known", SHARE),
    Measure("ngram_perplexity", "perplexity (n-gram)", NUMBER, HIGHER, 0, 0.02, "an n-gram finds them unlikely"),
    Measure(
        "model_perplexity", "perplexity (other model)", NUMBER, HIGHER, 0, 0.02, "another model finds them unlikely"
    ),
    Measure("frechet", "Fréchet distance", FINE, HIGHER, 0, 0.5, "another model sees other proteins in them"),
    Measure("plddt", "pLDDT", NUMBER, LOWER, 5, 0, "they are not predicted to fold as natural ones"),
    Measure("length", "median length", WHOLE),
    Measure(
        "length_distance", "distance of lengths", FINE, HIGHER, 0.1, 0, "their lengths are not those of natural ones"
    ),
)
"""What is wrong first is what comes first."""

Columns = dict[str, dict[str, Interval]]
"""Of each column the measures by key."""


@dataclass(frozen=True)
class Verdict:
    """What the measures say.

    Attributes:
        is_good: whether nothing is at fault; None where there are too few proteins to tell.
        text: it in a sentence, with what was not measured.
        faults: keys of the measures that are off, what counts most first.
    """

    is_good: bool | None
    text: str
    faults: tuple[str, ...]


def judge(columns: Columns, proteins: int, missing: Sequence[str] = ()) -> Verdict:
    """The verdict on so many samples; one is not judged. What `missing` says in words was not measured."""
    measured = [measure for measure in MEASURES if measure.key in columns[SAMPLES]]
    judged = [measure for measure in measured if measure.worse and measure.key in columns[NATURAL]]
    deviations = DEVIATIONS * reach(max(2, proteins))
    off = [measure for measure in judged if proteins > 1 and _is_off(measure, columns, deviations)]
    if off:
        others = f"; also off: {', '.join(measure.label for measure in off[1:])}" if off[1:] else ""
        text = f"not good: {off[0].fault} ({_told(off[0], columns)}){others}"
    elif proteins < FEW:
        text = (
            f"cannot tell: no fault is certain, but {counted(proteins, 'protein')} cannot show any; give {FEW} or more"
        )
    else:
        text = f"good: in {len(judged)} measures they are like as many natural proteins"
    is_good = None if not off and proteins < FEW else not off
    text += "".join(f"; not measured: {what}" for what in missing)
    return Verdict(is_good, text, tuple(measure.key for measure in off))


def _is_off(measure: Measure, columns: Columns, deviations: float) -> bool:
    found, natural = columns[SAMPLES][measure.key], columns[NATURAL][measure.key]
    excess = (measure.worse or 0) * (found.value - natural.value)
    error = math.hypot(found.error or 0.0, natural.error or 0.0)
    return excess > max(measure.margin + measure.relative * abs(natural.value), deviations * error)


def _told(measure: Measure, columns: Columns) -> str:
    values = (measure.shown(columns[column][measure.key].value) for column in (SAMPLES, NATURAL))
    return "{label}: {0}, natural {1}".format(*values, label=measure.label)
