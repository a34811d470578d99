"""The command line of a recipe answers before anything heavy is imported."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "megatron", "matplotlib", "safetensors")
CODE = f"""
import atexit, sys
atexit.register(lambda: print("imported:", [name for name in {HEAVY} if name in sys.modules]))
from d2plm_megatron.app import main
from recipes import fm_450m
sys.argv = ["fm_450m.py", *{{arguments}}]
main(fm_450m.recipe)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--cfg", "job"],
        ["--dry-run", "--world-size", "8", "--gpu-memory", "80"],
        ["train.max_stepz=3"],
        ["optimizer.learning_rate=-1"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_answers_without_torch(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(arguments=arguments)], capture_output=True, text=True)
    assert done.returncode == (0 if arguments[0].startswith("--") else 2), done.stderr
    assert done.stdout.endswith("imported: []\n")
