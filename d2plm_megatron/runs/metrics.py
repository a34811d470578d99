"""The log of a run, metrics.jsonl: a JSON object per progress report and per evaluation, each with its checksum."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from d2plm_megatron.console import note
from d2plm_megatron.files import check_ordinary, write_text
from d2plm_megatron.runs import integrity

_LINE = {"kind": str, "step": int, "time": str}
_NUMBER = (int, float)
_LINES = {
    "train": _LINE | dict.fromkeys(("perplexity", "lr", "gradient_norm", "tokens", "proteins"), _NUMBER),
    "validation": _LINE,
}


def perplexity(nats: float) -> float:
    """exp(nats), infinite where that overflows."""
    return math.inf if nats > 700 else math.exp(nats)


def append(path: Path, line: dict[str, Any]) -> None:
    """Adds a line to the log."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_written(line))


def read_metrics(path: Path, say: Callable[[str], object] = lambda damage: None) -> Iterator[dict[str, Any]]:
    """The lines of a log, none if there is no log.

    A damaged line is left out, and `say` is told which; a last one that a kill has cut off is left out in silence.
    Raises ValueError if the log is no ordinary file.
    """
    check_ordinary(path)
    if not path.exists():
        return
    *lines, _cut_off = path.read_bytes().split(b"\n")
    for number, text in enumerate(lines, start=1):
        try:
            yield _line(text, f"{path}, line {number}")
        except integrity.Damaged as damage:
            say(str(damage))


def metrics(run: str | Path) -> list[dict[str, Any]]:
    """The log of a run as a table, a dict per line with "kind", "step", "time" and numbers by name.

    `pandas.DataFrame(metrics("runs/mine"))` takes it; kinds are "train" and "validation". Raises ValueError where there
    is no log, and tells of damaged lines, which are left out.
    """
    path = Path(run) / "metrics.jsonl"
    if not path.exists():
        raise ValueError(f"{path}: no log of a run there; give the folder of a run")
    return list(read_metrics(path, note))


def rewind(path: Path, step: int, say: Callable[[str], object]) -> None:
    """Leaves the sound lines of a log up to a step, to go on from there.

    A log with damaged lines is kept as it was under a name of its own, which `say` is told.
    """
    damages: list[str] = []
    kept = [line for line in read_metrics(path, damages.append) if line["step"] <= step]
    if damages:
        aside = path.with_name("metrics.damaged.jsonl")
        aside.write_bytes(path.read_bytes())
        say(f"{damages[0]}; {len(damages)} such lines are left out, and the log as it was is kept as {aside.name}")
    write_text(path, "".join(map(_written, kept)))


def _written(line: dict[str, Any]) -> str:
    return json.dumps(integrity.sealed(line)) + "\n"


def _line(text: bytes, name: str) -> dict[str, Any]:
    line = integrity.unsealed(text, name)
    if not integrity.fits(line, _LINES.get(str(line.get("kind")), {"kind": None})):
        raise integrity.Damaged(f"{name}: damaged: not a line of a run's log")
    return line
