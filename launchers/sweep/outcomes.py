"""What became of the points of a sweep: how far each run is, and how good."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import Any

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import keys_of
from d2plm_megatron.report.evaluation_record import read_evaluation
from d2plm_megatron.report.run_record import RunRecord
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.integrity import Damaged

from .points import NOT_SWEPT
from .record import Point, Sweep

FINISHED, RUNNING, STOPPED, NOT_BEGUN, DAMAGED = "finished", "running", "stopped", "not begun", "damaged"
SMOKE = "-smoke"
"""What the folder of a run has behind its name where there was no GPU for a recipe that wants one."""

_VALIDATED = "_perplexity"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A point as it stands.

    Attributes:
        name: of the point.
        values: of the swept keys, as texts.
        state: finished, running, stopped (interrupted or failed: the same launch goes on), not begun, or damaged.
        steps: (done, of how many); None before the beginning.
        lines: of the run's log.
        evaluation: as d2plm evaluate wrote it into the run's folder; None where it did not.
    """

    name: str
    values: Mapping[str, str]
    state: str
    steps: tuple[int, int] | None = None
    lines: tuple[dict[str, Any], ...] = ()
    evaluation: dict[str, Any] | None = None

    @property
    def likelihoods(self) -> list[str]:
        """The likelihoods that were validated, the one that decides which checkpoint is best first."""
        keys = [key for line in self.lines if line["kind"] == "validation" for key in line]
        return [key.removesuffix(_VALIDATED) for key in dict.fromkeys(keys) if key.endswith(_VALIDATED)]

    def best(self, likelihood: str) -> tuple[float, int] | None:
        """(the lowest validation perplexity, its step); None before the first validation."""
        key = likelihood + _VALIDATED
        held_out = [line for line in self.lines if line["kind"] == "validation"]
        return min(((line[key], line["step"]) for line in held_out if line.get(key, nan) > 0), default=None)

    @property
    def tokens_per_second(self) -> float | None:
        """Of the middle one of all progress reports."""
        found = [line["tokens_per_second"] for line in self.lines if "tokens_per_second" in line]
        return statistics.median(found) if found else None


def read_outcomes(folder: Path, say: Callable[[str], object]) -> list[Outcome]:
    """The points of a sweep, in no order; `say` is told, a line each, what is damaged.

    Without sweep.json, such as where runs were gathered by hand, every run in the folder is a point, and what differs
    between their recipes is what was swept. Raises ValueError where there is neither.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give that of a sweep, with a sweep.json in it")
    try:
        sweep = Sweep.read(folder)
    except Damaged as damage:
        sweep = None
        say(f"{damage}; what was swept is told by the recipes of the runs instead")
    if sweep is not None:
        return [_outcome(name, values, folder, say) for name, values in sweep.points.items()]
    records = {path.parent.name: _record(path.parent, say) for path in sorted(folder.glob("*/recipe.yaml"))}
    if not records:
        raise ValueError(f"{folder}: no sweep: there is neither sweep.json nor a run in it")
    differing = _differing({name: record.recipe for name, record in records.items() if record is not None})
    return [_outcome(name, differing.get(name, {}), folder, say) for name in records]


def is_finished(point: Point) -> bool:
    """Whether the run of a point has done what its recipe says, or more, so that there is nothing to go on with."""
    record = _record(_run_of(Path(point.recipe.output), point.name), lambda damage: None)
    return record is not None and _has_ended(record, point.recipe)


def common_likelihood(outcomes: Sequence[Outcome]) -> str | None:
    """The first likelihood of those that all validated runs have, by which they can be compared; None before one."""
    validated = [outcome.likelihoods for outcome in outcomes if outcome.likelihoods]
    shared = [name for name in validated[0] if all(name in names for names in validated)] if validated else []
    return shared[0] if shared else None


def ranked(outcomes: Sequence[Outcome], likelihood: str | None) -> list[Outcome]:
    """The best first, then those without a validation by how far they are."""

    def place(outcome: Outcome) -> tuple[float, int, str]:
        found = outcome.best(likelihood) if likelihood else None
        return found[0] if found else inf, -(outcome.steps or (-1, 0))[0], outcome.name

    return sorted(outcomes, key=place)


def _outcome(name: str, values: Mapping[str, str], folder: Path, say: Callable[[str], object]) -> Outcome:
    path = _run_of(folder, name)
    run = RunFolder(path)
    if not (path / "recipe.yaml").exists():
        return Outcome(name=name, values=values, state=RUNNING if run.is_in_use() else NOT_BEGUN)
    record = _record(path, say)
    if record is None:
        return Outcome(name=name, values=values, state=DAMAGED)
    steps = (record.trained["steps"], record.recipe.train.max_steps)
    state = FINISHED if _has_ended(record, record.recipe) else RUNNING if run.is_in_use() else STOPPED
    evaluation = _evaluation(run.evaluation, say)
    return Outcome(
        name=name, values=values, state=state, steps=steps, lines=tuple(record.metrics), evaluation=evaluation
    )


def _run_of(folder: Path, name: str) -> Path:
    smoke = folder / (name + SMOKE)
    return smoke if smoke.is_dir() and not (folder / name).is_dir() else folder / name


def _record(path: Path, say: Callable[[str], object]) -> RunRecord | None:
    """A run; None where it has not begun, or is damaged, which is said."""
    if not (path / "recipe.yaml").exists():
        return None
    try:
        return RunRecord.read(path)
    except (ValueError, OSError) as error:
        say(str(error))
        return None


def _has_ended(record: RunRecord, recipe: Recipe) -> bool:
    if record.trained["steps"] >= recipe.train.max_steps:
        return True
    patience, state = recipe.validation.patience, record.state
    return patience is not None and state is not None and state["progress"]["validations_since_best"] >= patience


def _evaluation(path: Path, say: Callable[[str], object]) -> dict[str, Any] | None:
    try:
        return read_evaluation(path).numbers if path.exists() else None
    except (ValueError, OSError) as error:
        say(str(error))
        return None


def _differing(recipes: Mapping[str, Recipe]) -> dict[str, dict[str, str]]:
    """Of each recipe the keys whose values are not the same in all, with its own."""
    flat = {name: {key: str(value) for key, (value, _) in keys_of(recipe).items()} for name, recipe in recipes.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values if key not in NOT_SWEPT)
    swept = [key for key in keys if len({values.get(key) for values in flat.values()}) > 1]
    return {name: {key: values[key] for key in swept if key in values} for name, values in flat.items()}
