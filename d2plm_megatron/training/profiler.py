"""A trace of some steps of a run, for Perfetto, Chrome or TensorBoard, or the window that Nsight Systems captures."""

import gzip
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from d2plm_megatron.config import Profile
from d2plm_megatron.console import note
from d2plm_megatron.files import atomic
from d2plm_megatron.parallel.processes import Processes


def torch_profile(device: torch.device, **options: Any) -> profile:
    """torch's profiler for what happens on the host and, where the device is a GPU, on that."""
    on_gpu = [ProfilerActivity.CUDA] if device.type == "cuda" else []
    return profile(activities=[ProfilerActivity.CPU, *on_gpu], **options)


class StepProfiler:
    """Profiles the steps that a recipe names, on the ranks that it names; does nothing in all other steps.

    Args:
        options: of the recipe.
        processes: among which this one is.
        folder: of the run; traces go to its folder `profile`, a file per rank.
        step: at which the run stands. What it has behind it is not profiled.

    Raises ValueError where Nsight Systems is to profile a run that is on no GPU.
    """

    def __init__(self, options: Profile, processes: Processes, folder: Path, step: int) -> None:
        self._options, self._processes = options, processes
        self._folder = folder / "profile"
        self._trace: profile | None = None
        self._is_open = False
        self._is_chosen = options.start_step is not None and processes.rank in options.chosen(processes.world_size)
        if options.start_step is None:
            return
        if options.tool == "nsys" and processes.device.type != "cuda":
            raise ValueError(
                "profile.tool=nsys: Nsight Systems profiles GPUs, and there is none; set profile.tool=torch"
            )
        if step >= options.start_step:
            note(f"profile.start_step={options.start_step}: the run is at step {step:,} already; nothing is profiled")
            self._is_chosen = False

    def step(self, number: int) -> AbstractContextManager[None]:
        """Around a step, counted from 1 as in the log."""
        return self._profiled(number) if self._is_chosen else nullcontext()

    @contextmanager
    def _profiled(self, number: int) -> Iterator[None]:
        first, last = self._options.window()
        if number == first:
            self._begin()
        yield
        if number == last:
            self.close(last)

    def close(self, number: int) -> None:
        """Writes what was profiled up to this step, if anything was and is not written yet."""
        if self._is_open:
            self._is_open = self._is_chosen = False
            self._end(f"steps{self._options.start_step}-{number}")

    def _begin(self) -> None:
        try:
            if self._options.tool == "nsys":
                torch.cuda.profiler.start()
            else:
                self._trace = torch_profile(self._processes.device)
                self._trace.start()
        except (OSError, RuntimeError) as error:  # such as another profiler at work: no reason to stop training
            self._trace, self._is_chosen = None, False
            note(f"profile: nothing is profiled: {error}")
        else:
            self._is_open = True

    def _end(self, steps: str) -> None:
        if self._processes.device.type == "cuda":
            torch.cuda.synchronize()
        if self._trace is None:
            torch.cuda.profiler.stop()
            return
        path = self._folder / f"rank{self._processes.rank}-{steps}.pt.trace.json.gz"
        try:
            self._trace.stop()
            _write(self._trace, path)
        except (OSError, RuntimeError) as error:  # a full disk is no reason to stop training
            note(f"{path}: the trace was not written: {error}")
        else:
            note(f"profiled: {path}")
        self._trace = None


def _write(trace: profile, path: Path) -> None:
    """Compressed, and under its name only when it is whole."""
    with atomic(path) as (temporary,):
        plain = temporary.with_suffix(".json")
        try:
            trace.export_chrome_trace(str(plain))
            with plain.open("rb") as source, gzip.open(temporary, "wb") as target:
                shutil.copyfileobj(source, target)
        finally:
            plain.unlink(missing_ok=True)
