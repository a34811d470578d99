"""What a run tells: a line on the screen, metrics.jsonl, a curve, and trackers when asked for."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from d2plm_megatron.config import Recipe
from d2plm_megatron.console import note
from d2plm_megatron.runs import metrics
from d2plm_megatron.runs.curve import draw_curve
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.tracking.tracker import begin_trackers

SECONDS_BETWEEN_DRAWINGS = 60

Callback = Callable[[dict[str, Any]], object]
"""Told each line of the log when it is written."""


class Reporter:
    """Writes for the main process; the others have none.

    Args:
        recipe: of the run.
        folder: of the run.
        first_step: where the run continues; lines of later steps, from a run that was killed, are dropped.
        callback: told each line that is written.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, first_step: int, callback: Callback | None = None) -> None:
        self.recipe = recipe
        self.folder = folder
        self._callback = callback
        metrics.rewind(folder.metrics, first_step, note)
        self._drawn = time.monotonic()
        self._trackers = begin_trackers(recipe, folder.path, first_step, print)

    def training(self, step: int, values: dict[str, float]) -> None:
        """A progress report: averages of the objective, rates and the optimizer's numbers since the last one."""
        values = {**values, "perplexity": metrics.perplexity(values["nll"])}
        self._write("train", step, values)
        left = timedelta(seconds=round((self.recipe.train.max_steps - step) * values["seconds_per_step"]))
        skipped = f" | {values['skipped_steps']:.0f} steps skipped" if values["skipped_steps"] else ""
        print(
            f"step {step:,}/{self.recipe.train.max_steps:,} | loss {values['loss']:.4f} | "
            f"perplexity {values['perplexity']:.2f} | lr {values['lr']:.2e} | "
            f"grad {values['gradient_norm']:.3f} | {values['tokens_per_second']:,.0f} tokens/s | "
            f"packed {values['packing_efficiency']:.1%} | {values['tflops']:.3g} TFLOP/s, MFU {values['mfu']:.1%} | "
            f"{left} left{skipped}",
            flush=True,
        )

    def validation(self, step: int, values: dict[str, float], is_best: bool) -> None:
        """Perplexities of the EMA of the weights on held-out proteins."""
        self._write("validation", step, values)
        parts = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items() if "perplexity" in name]
        print(f"step {step:,} | validation | {' | '.join(parts)}{' | best so far' if is_best else ''}", flush=True)

    def draw(self) -> None:
        """Brings the curve up to date, unless it is nearly so."""
        if time.monotonic() - self._drawn > SECONDS_BETWEEN_DRAWINGS:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        draw_curve(metrics.read_metrics(self.folder.metrics), self.recipe.name, self.folder.path / "curve.png")

    def close(self) -> None:
        """Draws the curve a last time and ends what was begun."""
        self._draw()
        for tracker in self._trackers:
            tracker.finish()

    def _write(self, kind: str, step: int, values: dict[str, float]) -> None:
        line = {"kind": kind, "step": step, "time": datetime.now(UTC).isoformat(timespec="seconds"), **values}
        metrics.append(self.folder.metrics, line)
        for tracker in self._trackers:
            tracker.log(kind, step, values)
        if self._callback is not None:
            self._callback(line)
