"""What happens between two progress reports: averages of the loss, and how fast the run is for its machine."""

import time
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
import torch.distributed as dist

from d2plm_megatron.config import Model
from d2plm_megatron.config.hardware import of_device
from d2plm_megatron.config.sizing import training_flops
from d2plm_megatron.data.loader import GlobalBatch
from d2plm_megatron.training.step import LocalSums, averages


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Operations per second of all processes, at best, by the vendor's figures; None for a device that has none.

    On a CPU, or where matrix products of fp32 are left to TF32, there is no figure that a share could be of.
    """
    kind = of_device(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    if kind is None or (dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32):
        return None
    precision = "bf16" if dtype == torch.bfloat16 else "fp32"
    return kind.tflops(precision) * 1e12 * dist.get_world_size()


@dataclass
class Throughput:
    """Adds up what happens between two progress reports.

    Args:
        model: whose operations are counted.
        peak: operations per second of all processes, at best; None where there is no figure.
        tokens_per_batch: with padding.
    """

    model: Model
    peak: float | None
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

        Residues and end tokens count as tokens, padding does not. The share of the peak, mfu, is there if the peak is.
        """
        sums = reduce(add, self._sums).over_ranks()
        elapsed = time.perf_counter() - self._started
        values = {
            **averages(sums),
            "seconds_per_step": elapsed / self._num_batches,
            "tokens_per_second": self._num_tokens / elapsed,
            "packing_efficiency": self._num_tokens / (self._num_batches * self.tokens_per_batch),
            "tflops": self._flops / elapsed / 1e12,
        }
        if self.peak is not None:
            values["mfu"] = self._flops / elapsed / self.peak
        self._restart()
        return values

    def _restart(self) -> None:
        self._started = time.perf_counter()
        self._num_batches = self._num_tokens = self._flops = 0
        self._sums: list[LocalSums] = []
