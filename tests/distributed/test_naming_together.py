"""Processes that start seconds apart agree on the time in a run's name, and find its folder again."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
LATE = """
import os, time
from datetime import datetime, UTC
from d2plm_megatron.runs import beginning

class Clock(datetime):
    @classmethod
    def now(cls, zone):
        return datetime(2026, 11, 21, 21, 5 + int(os.environ["RANK"]), tzinfo=UTC)

beginning.datetime = Clock
from d2plm_megatron.commandline.train import main
from d2plm_megatron.console import run
run(main)
"""
"""d2plm train in which the second process's clock is a minute ahead."""
SMALL = [
    *["model.num_layers=1", "model.hidden_size=32", "model.num_attention_heads=2", "model.ffn_hidden_size=64"],
    *["data.max_length_residues=60", "train.smoke_pack_tokens=64"],
]


def test_two_processes_agree_on_a_name_and_find_it_again(write_proteins: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LATE)
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [
        "absorbing_tiny",
        f"data.train={write_proteins([50] * 60)}",
        f"output={tmp_path}/runs",
        "name=auto",
        *SMALL,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    said = []
    for _ in range(2):
        command = [*launched, str(tmp_path / "late.py"), *words, "train.max_steps=2"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        said.append(done.stdout)
    [folder] = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"absorbing_tiny-20261121-2105-[0-9a-f]{6}-smoke", folder.name)
    assert f"into {tmp_path}/runs/{folder.name}" in said[0]
    assert f"continuing from {folder}/checkpoints/step_00000002 at step 2" in said[1]
