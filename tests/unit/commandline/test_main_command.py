"""The command line of a recipe answers before anything heavy is imported."""

import subprocess
import sys
from contextlib import suppress

import pytest

from d2plm_megatron.commandline.main import main
from recipes import fm_tiny

HEAVY = ("torch", "megatron", "matplotlib", "safetensors")
CODE = f"""
import atexit, sys
atexit.register(lambda: print("imported:", [name for name in {HEAVY} if name in sys.modules]))
from d2plm_megatron.commandline.main import main
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
        ["optimizer.lr=-1"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_answers_without_torch(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(arguments=arguments)], capture_output=True, text=True)
    assert done.returncode == (0 if arguments[0].startswith("--") else 2), done.stderr
    assert done.stdout.endswith("imported: []\n")


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    monkeypatch.setattr(sys, "argv", ["fm_tiny.py", *arguments])
    with suppress(SystemExit):
        main(fm_tiny.recipe)
    return capsys.readouterr()


def test_help_shows_its_texts_as_they_are(monkeypatch, capsys) -> None:
    printed, _ = said(monkeypatch, capsys, "--help")
    assert "pip install 'd2plm-megatron[track]'" in printed
    assert "polynomial:N, cubic:A:B" in printed


def test_overrides_and_options_in_any_order(monkeypatch, capsys) -> None:
    printed, _ = said(monkeypatch, capsys, "name=first", "--dry-run", "name=second")
    assert "second: dry run" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "1e-4"], "No such option: --lr; did you mean optimizer.lr?; changes are written as key="),
        (["--batch-size=8"], "write train.global_batch_tokens"),
        (["--train.max_steps=8"], "did you mean train.max_steps?"),
        (["--dry-runs"], "No such option: --dry-runs (Possible options: --dry-run) (--help"),
        (["--world-size", "many"], "Invalid value for '--world-size'"),
    ],
)
def test_options_of_others_are_answered_with_keys(monkeypatch, capsys, arguments, message) -> None:
    _, error = said(monkeypatch, capsys, *arguments)
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error


def test_training_begins_with_a_line(write_proteins, monkeypatch, capsys, tmp_path) -> None:
    prefix = write_proteins([30] * 50)
    small = ["train.max_steps=1", "train.global_batch_tokens=1024", "model.num_layers=1", f"output={tmp_path}"]
    printed, error = said(monkeypatch, capsys, f"data.train={prefix}", "name=first", *small)
    assert error == ""
    first, second, *_ = printed.splitlines()
    assert first.startswith("first: ") and first.endswith(" parameters, 50 proteins, 1 process")
    assert second == f"on CPU: 1 step of 1,024 tokens, into {tmp_path}/first"
