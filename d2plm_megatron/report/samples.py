"""The samples as a page lists them: in order, with what their headers say, and beside what they resemble."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from d2plm_megatron.proteins import residue_classes
from d2plm_megatron.proteins.alignment import GAP, Alignment
from d2plm_megatron.proteins.composition import entropy
from d2plm_megatron.proteins.fasta import read_records
from d2plm_megatron.report.judgement_record import Near
from d2plm_megatron.report.results import Results

MAX_SAMPLES = 200
"""Samples that are shown; the file has the rest."""

MAX_COLUMNS = 5
"""Fields of headers that are shown where they differ."""

MOST_COLOURED = 40_000
"""Letters that are coloured by their kind; those of more samples are plain, as a page of spans would be slow."""

_GROUP_RESIDUES = 10
_LINE_COLUMNS = 60
_FIELD = re.compile(r"(?:^|\s)([A-Za-z][\w-]{0,30})=(\S+)")
_BY_HEADER = {"rank": 1, "perplexity": 1, "score": -1}
"""Fields of headers that order the samples, with 1 where less is better."""

Runs = list[tuple[int | None, str]]
"""Letters cut where the kind of residue changes; see residue_classes.runs."""


@dataclass(frozen=True)
class Line:
    """Up to 60 columns of an alignment; positions count from 1, over the residues of one protein.

    Attributes:
        first, last: positions in sample and known protein; None where it is not known where the alignment lies.
        rows: sample and known protein, coloured.
        midline: identical and similar residues.
    """

    first: tuple[int | None, int | None]
    rows: tuple[Runs, Runs]
    midline: str
    last: tuple[int | None, int | None]


@dataclass(frozen=True)
class Neighbour:
    """What a sample resembles.

    Attributes:
        name: of the known protein.
        family: of it; None where none is told.
        identity: from 0 to 1.
        is_near: whether it is nearer than chance explains.
        told: identity and extent, in words.
        alignment: of the sample with it.
        starts: where the alignment begins in both, from 0; None where that is not known.
    """

    name: str
    family: str | None
    identity: float
    is_near: bool
    told: str
    alignment: Alignment
    starts: tuple[int | None, int | None]

    @property
    def lines(self) -> list[Line]:
        """The alignment, 60 columns each."""
        return list(_lines(self.alignment, self.starts))


@dataclass(frozen=True)
class Sample:
    """A generated protein.

    Attributes:
        number: in its file, from 1, by which the page links to it.
        name: first word of its header.
        letters: its residues.
        fields: `name=value` of its header.
        neighbour: what it resembles; None where nothing is known.
        is_coloured: whether its letters are coloured.
    """

    number: int
    name: str
    letters: str
    fields: dict[str, str]
    neighbour: Neighbour | None
    is_coloured: bool = False

    @property
    def groups(self) -> list[Runs]:
        """The letters by tens."""
        tens = [self.letters[i : i + _GROUP_RESIDUES] for i in range(0, len(self.letters), _GROUP_RESIDUES)]
        return [residue_classes.runs(ten) if self.is_coloured else [(None, ten)] for ten in tens]


@dataclass(frozen=True)
class Listing:
    """The samples of a page.

    Attributes:
        shown: the samples, in order.
        order: what that is, in words.
        columns: fields of headers that differ between samples.
        common: those that do not.
        others: other orders, by name: the numbers of the samples shown.
        rest: samples that are not shown.
    """

    shown: list[Sample]
    order: str
    columns: list[str]
    common: dict[str, str]
    others: dict[str, list[Sample]]
    rest: int


def list_samples(results: Results) -> Listing | None:
    """The samples, the best first; None without any."""
    if results.samples is None:
        return None
    samples = _all_samples(results)
    order, ranked = _ranked(samples)
    names = list(dict.fromkeys(name for sample in samples for name in sample.fields))
    values = {name: {sample.fields.get(name) for sample in samples} for name in names}
    common = {name: value for name, [value, *more] in ((n, list(v)) for n, v in values.items()) if value and not more}
    common = common if len(samples) > 1 else {}
    columns = sorted((name for name in names if name not in common), key=lambda name: name not in _BY_HEADER)
    shown = _coloured(ranked[:MAX_SAMPLES])
    others = _orders(shown) if len(shown) > 2 else {}
    return Listing(shown, order, columns[:MAX_COLUMNS], common, others, len(samples) - len(shown))


def _all_samples(results: Results) -> list[Sample]:
    assert results.samples is not None
    headers = [header for header, _ in read_records(results.samples.path)]
    by_name = {near.sample: near for near in (results.judgement.nearest or ())} if results.judgement else {}
    samples = []
    for number, (protein, header) in enumerate(zip(results.samples.proteins, headers, strict=True)):
        neighbour = _by_novelty(results, number) or _by_judgement(by_name.get(protein.name), protein.sequence)
        fields = dict(_FIELD.findall(header))
        samples.append(Sample(number + 1, protein.name, protein.sequence, fields, neighbour))
    return samples


def _by_novelty(results: Results, number: int) -> Neighbour | None:
    if results.novelty is None or results.reference is None:
        return None
    found = results.novelty.nearest[number]
    near, alignment = results.reference.proteins[found.number], found.alignment
    told = f"{alignment.num_identical} identical residues in {len(alignment.midline)} columns; "
    told += f"the shorter protein has {alignment.shorter} residues"
    is_near = bool(results.novelty.is_recognised[number])
    return Neighbour(near.name, near.family, alignment.identity, is_near, told, alignment, alignment.starts)


def _by_judgement(near: Near | None, letters: str) -> Neighbour | None:
    if near is None:
        return None
    begin = letters.find(near.rows[0].replace(GAP, ""))
    told = f"{near.identity:.0%} of {near.coverage:.0%} of the sample identical, e-value {near.e_value:.1g} (MMseqs2)"
    alignment = Alignment(near.rows, (max(begin, 0), 0), len(letters))
    starts = (begin if begin >= 0 else None, None)
    return Neighbour(near.known, None, near.identity * near.coverage, True, told, alignment, starts)


def _ranked(samples: list[Sample]) -> tuple[str, list[Sample]]:
    """The samples in the order that says most, and that order in words."""
    for name, sign in _BY_HEADER.items():
        values = [_number(sample.fields.get(name)) for sample in samples]
        if all(value is not None for value in values) and len(set(values)) > 1:
            words = f"by the {name} in their headers, the {'lowest' if sign > 0 else 'highest'} first"
            return words, [sample for sample, _ in sorted(zip(samples, values, strict=True), key=_by_value(sign))]
    if any(sample.neighbour for sample in samples):
        return "the nearest to a known protein first", sorted(samples, key=lambda sample: -_identity(sample))
    return (
        "the least repetitive first, by the entropy of their residues",
        sorted(samples, key=lambda sample: -entropy(sample.letters)),
    )


def _by_value(sign: int) -> Callable[[tuple[Sample, float | None]], float]:
    return lambda pair: sign * (pair[1] or 0.0)


def _orders(shown: list[Sample]) -> dict[str, list[Sample]]:
    orders: dict[str, Callable[[Sample], float]] = {
        "number": lambda sample: sample.number,
        "length, the longest first": lambda sample: -len(sample.letters),
        "entropy, the most repetitive first": lambda sample: entropy(sample.letters),
    }
    if any(sample.neighbour for sample in shown):
        orders["identity, the newest first"] = _identity
    return {name: sorted(shown, key=key) for name, key in orders.items()}


def _coloured(samples: list[Sample]) -> list[Sample]:
    """With colours for as many of the first as there may be."""
    found, letters = [], 0
    for sample in samples:
        letters += len(sample.letters)
        found.append(replace(sample, is_coloured=letters <= MOST_COLOURED))
    return found


def _identity(sample: Sample) -> float:
    return sample.neighbour.identity if sample.neighbour else 0.0


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _lines(alignment: Alignment, starts: tuple[int | None, int | None]) -> Iterator[Line]:
    first = tuple(None if start is None else start + 1 for start in starts)
    midline = alignment.midline
    for begin in range(0, len(midline), _LINE_COLUMNS):
        rows = [row[begin : begin + _LINE_COLUMNS] for row in alignment.rows]
        after = tuple(
            None if at is None else at + len(row) - row.count(GAP) for at, row in zip(first, rows, strict=True)
        )
        last = tuple(None if at is None else at - 1 for at in after)
        runs = (residue_classes.runs(rows[0]), residue_classes.runs(rows[1]))
        yield Line((first[0], first[1]), runs, midline[begin : begin + _LINE_COLUMNS], (last[0], last[1]))
        first = after
