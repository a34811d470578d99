"""What happens between two progress reports: averages of the loss, and how fast the run is for its machine."""

import time
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
import torch.distributed as dist

from d2plm_megatron.config import Model
from d2plm_megatron.config.sizing import training_flops
from d2plm_megatron.data.loader import GlobalBatch
from d2plm_megatron.training.step import LocalSums, averages

PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "A6000": 155.0,
    "RTX 4090": 165.0,
}
"""Dense bf16 matrix operations per second, by vendor's data sheets. Other devices are measured."""


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of all processes, at best: for bf16 on a known GPU by its data sheet, else measured."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        name = torch.cuda.get_device_name(device)
        known = [peak for part, peak in PEAK_TFLOPS.items() if part in name]
        if known:
            return known[0] * 1e12 * dist.get_world_size()
    measured = torch.tensor(_measured_flops(device, dtype), dtype=torch.float64, device=device)
    dist.all_reduce(measured)
    return float(measured)


def _measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """The best of some matrix products."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        (left @ right).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


@dataclass
class Throughput:
    """Adds up what happens between two progress reports.

    Args:
        model: whose operations are counted.
        peak: operations per second of all processes.
        tokens_per_batch: with padding.
    """

    model: Model
    peak: float
    tokens_per_batch: int

    def __post_init__(self) -> None:
        self._restart()

    def add(self, batch: GlobalBatch, sums: LocalSums) -> None:
        """Counts a batch that has been trained on, and the sums of its loss and metrics on this rank."""
        self._num_batches += 1
        self._num_tokens += batch.num_tokens
        self._flops += training_flops(self.model, batch.num_tokens, batch.sum_squared_lengths)
        self._sums.append(sums)

    def pause(self, seconds: float) -> None:
        """Leaves out time spent on something else, such as an evaluation."""
        self._started += seconds

    def report(self) -> dict[str, float]:
        """Averages and rates since the last report. All ranks take part.

        Residues and end tokens count as tokens, padding does not.
        """
        sums = reduce(add, self._sums).over_ranks()
        elapsed = time.perf_counter() - self._started
        values = {
            **averages(sums),
            "seconds_per_step": elapsed / self._num_batches,
            "tokens_per_second": self._num_tokens / elapsed,
            "packing_efficiency": self._num_tokens / (self._num_batches * self.tokens_per_batch),
            "tflops": self._flops / elapsed / 1e12,
            "mfu": self._flops / elapsed / self.peak,
        }
        self._restart()
        return values

    def _restart(self) -> None:
        self._started = time.perf_counter()
        self._num_batches = self._num_tokens = self._flops = 0
        self._sums: list[LocalSums] = []
