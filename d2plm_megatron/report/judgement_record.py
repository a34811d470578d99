"""What `d2plm judge` wrote, as values: read once, and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2plm_megatron.evaluation.samples.homology import Match
from d2plm_megatron.evaluation.samples.panel import COLUMNS, SAMPLES
from d2plm_megatron.evaluation.samples.verdict import MEASURES, NUMBER, Measure
from d2plm_megatron.proteins.alignment import GAP
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS

_ALIGNED = frozenset(CANONICAL_LETTERS + "XBZ" + GAP)
_KEYS = {"samples", "reference", "verdict", "proteins", "measures", "nearest"}
_MOST_PICTURE_BYTES = 4_000_000
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Cell:
    """A measure of one column, with the ends of its 95% interval, None where it has none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A measure in all columns.

    Attributes:
        measure: what it is.
        cells: by column; a column may lack it.
        is_off: whether it is at fault.
    """

    measure: Measure
    cells: dict[str, Cell]
    is_off: bool

    @property
    def places(self) -> dict[str, float]:
        """Where the columns lie between the lowest of them, 0, and the highest, 1; none where they are all the same."""
        values = {name: cell.value for name, cell in self.cells.items()}
        low, high = min(values.values(), default=0.0), max(values.values(), default=0.0)
        return {name: (value - low) / (high - low) for name, value in values.items() if high > low}


@dataclass(frozen=True)
class Near(Match):
    """A match as a judgement has kept it.

    Attributes:
        rows: sample and known protein, aligned.
    """

    rows: tuple[str, str]


@dataclass(frozen=True)
class Judgement:
    """Generated proteins beside natural ones.

    Attributes:
        path: where it was read.
        numbers: all that was written.
        rows: the measures, what counts most first.
        nearest: of the samples that have a known neighbour; None where nobody has looked.
        picture: the PNG beside the JSON; None without.
    """

    path: Path
    numbers: dict[str, Any]
    rows: tuple[Row, ...]
    nearest: tuple[Near, ...] | None
    picture: bytes | None

    @property
    def samples(self) -> str:
        """Name of the file that was judged."""
        return Path(self.numbers["samples"]).name

    @property
    def text(self) -> str:
        """The verdict in a sentence."""
        return str(self.numbers["verdict"]["text"])

    @property
    def is_good(self) -> bool | None:
        """Whether nothing is at fault; None where there were too few proteins to tell."""
        good = self.numbers["verdict"]["good"]
        return None if good is None else bool(good)


def is_judgement(found: Any) -> bool:
    """Whether this is what `d2plm judge` writes."""
    if not isinstance(found, dict) or not found.keys() >= _KEYS or not isinstance(found["samples"], str):
        return False
    verdict, proteins, measures = found["verdict"], found["proteins"], found["measures"]
    return (
        isinstance(verdict, dict)
        and verdict.keys() >= {"good", "text", "faults"}
        and isinstance(verdict["faults"], list)
        and isinstance(proteins, dict)
        and proteins.keys() >= {"records", "compared"}
        and isinstance(measures, dict)
        and all(_is_measure(measure) for measure in measures.values())
    )


def judgement_of(path: Path, found: dict[str, Any]) -> Judgement:
    """Of JSON for which is_judgement holds. Raises ValueError for an alignment that is none."""
    labels = {measure.key: measure for measure in MEASURES}
    rows = []
    for key, columns in found["measures"].items():
        cells = {name: _cell(columns[name]) for name in COLUMNS if _is_known(columns.get(name))}
        rows.append(Row(labels.get(key, Measure(key, key, NUMBER)), cells, key in found["verdict"]["faults"]))
    nearest = None if found["nearest"] is None else tuple(_near(path, near) for near in found["nearest"])
    return Judgement(path, found, tuple(rows), nearest, _picture(path.with_suffix(".png")))


def _is_measure(found: Any) -> bool:
    return (
        isinstance(found, dict) and SAMPLES in found and all(_is_cell(found[name]) for name in COLUMNS if name in found)
    )


def _is_cell(found: Any) -> bool:
    return isinstance(found, dict) and all(
        found.get(name) is None or isinstance(found[name], int | float) for name in ("value", "low", "high")
    )


def _is_known(found: dict[str, Any] | None) -> bool:
    """Whether a column has a number here, and no null in place of one that is not finite."""
    return found is not None and found.get("value") is not None


def _cell(found: dict[str, Any]) -> Cell:
    return Cell(found["value"], found.get("low"), found.get("high"))


def _near(path: Path, found: Any) -> Near:
    try:
        first, second = found["alignment"]
        if not (isinstance(first, str) and isinstance(second, str)):
            raise TypeError
        identity, coverage, e_value = (float(found[name]) for name in ("identity", "coverage", "e_value"))
        near = Near(str(found["sample"]), str(found["known"]), identity, coverage, e_value, (first, second))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: damaged: a nearest protein lacks its names, its numbers or its alignment") from None
    if len(first) != len(second) or not _ALIGNED.issuperset(first + second):
        raise ValueError(f"{path}: damaged: the alignment of {near.sample} has rows that do not fit together")
    return near


def _picture(path: Path) -> bytes | None:
    if not path.is_file() or path.stat().st_size > _MOST_PICTURE_BYTES:
        return None
    found = path.read_bytes()
    return found if found.startswith(_PNG) else None
