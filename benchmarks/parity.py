"""Every layout gives the same training run: each is trained over gloo and compared with one process.

    python -m benchmarks.parity --json parity.json

A cell of the table is one objective in one layout. What goes in must be the same to the bit, gathered over all
processes: initial weights by name, the proteins of every pack of every global batch in order, and what the objective
made of each of them (noisy tokens, predicted places, time). What comes out may differ by rounding, as sums over
processes run in another order: the loss and gradient norm of every step, and after the last step every weight and its
moving average, by name, as |difference| / |value| in the Euclidean norm.

Bounds in fp32 (unit roundoff 6e-8): LOSS, WEIGHTS and AVERAGE as the table says; the gradient norm stands between
loss and weights.
"""

import importlib.metadata
import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.layouts import ALONE, LAYOUTS, OBJECTIVES, PRECISIONS
from benchmarks.tiny_runs import Job, Run, train, write_proteins
from d2plm_megatron.checkpoint.encoders import AVERAGE, WEIGHTS
from d2plm_megatron.config import one_of
from d2plm_megatron.console import progress, run


@dataclass(frozen=True)
class Differences:
    """How far a run is from that of one process.

    Attributes:
        start: what is not the same to the bit before or while it is put in, in words; empty if all is.
        loss: largest relative difference over the steps.
        gradient_norm: likewise.
        weights: largest relative difference over the names.
        average: likewise.
    """

    start: str
    loss: float
    gradient_norm: float
    weights: float
    average: float

    def too_large(self, precision: str) -> str:
        """What exceeds its bound, in words; empty if nothing does."""
        bounds = BOUNDS[precision]
        wrong = [f"{name} {getattr(self, name):.0e}" for name in bounds if not getattr(self, name) < bounds[name]]
        return ", ".join([*([self.start] if self.start else []), *wrong])


BOUNDS = {
    "fp32": {"loss": 1e-6, "gradient_norm": 1e-5, "weights": 1e-5, "average": 1e-6},
    "bf16": {"loss": 1e-3, "gradient_norm": 1e-2, "weights": 1e-2, "average": 1e-2},
}


def compare(found: Run, alone: Run) -> Differences:
    """A run in some layout with the same run of one process."""
    return Differences(
        start=_differing_start(found, alone),
        loss=_largest(found.losses, alone.losses),
        gradient_norm=_largest(found.gradient_norms, alone.gradient_norms),
        weights=_largest_by_name(found.tensors, alone.tensors, WEIGHTS),
        average=_largest_by_name(found.tensors, alone.tensors, AVERAGE),
    )


def _differing_start(found: Run, alone: Run) -> str:
    """Compared with ==."""
    initial, wanted = found.initial_weights, alone.initial_weights
    if initial.keys() != wanted.keys() or not all(torch.equal(initial[name], wanted[name]) for name in wanted):
        return "initial weights differ"
    packs, wanted_packs = found.noisy_packs, alone.noisy_packs
    if not packs or packs.keys() != wanted_packs.keys():
        return "other packs"
    if packs != wanted_packs:
        return f"pack {next(number for number in packs if packs[number] != wanted_packs[number])} differs"
    return ""


def _largest(found: list[float], wanted: list[float]) -> float:
    return max(abs(one - other) / abs(other) for one, other in zip(found, wanted, strict=True))


def _largest_by_name(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], group: str) -> float:
    names = [name for name in wanted if name.startswith(f"{group}.")]
    assert names, f"no {group}"
    return max(_relative(found[name].double(), wanted[name].double()) for name in names)


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-30))
