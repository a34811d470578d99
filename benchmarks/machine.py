"""What was measured on, with what, and when: the line below every table."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from d2plm_megatron.runs.versions import versions


def machine(*packages: str, device: str = "cpu") -> str:
    """Processor, cores, load, versions of Python and of the packages, date."""
    processor = torch.cuda.get_device_name() if device == "cuda" else _processor()
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    made_with = {"Python": platform.python_version(), **versions(*packages)}
    listed = ", ".join(f"{name} {version}" for name, version in made_with.items())
    return f"{processor}, {cores}; {listed}; {datetime.now(UTC):%Y-%m-%d}"


def _processor() -> str:
    """The model of the CPU."""
    lines = []
    if Path("/proc/cpuinfo").exists():
        lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return lines[0].partition(":")[2].strip() if lines else platform.processor()
