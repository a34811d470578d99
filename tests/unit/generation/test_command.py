import subprocess
import sys

import pytest

from d2plm_megatron.evaluation import __main__ as evaluation
from d2plm_megatron.generation import __main__ as generation
from d2plm_megatron.generation.__main__ import length_range
from d2plm_megatron.runs.folder import RunFolder


def test_lengths():
    assert length_range("120") == (120, 120)
    assert length_range("1:100000") == (1, 100_000)


def test_files_of_the_run_are_not_replaced(tmp_path, write_checkpoint):
    run = RunFolder(tmp_path / "run")
    state = write_checkpoint(run, 1) / "state.json"
    for main, model, arguments in ((generation.main, run.path, {}), (evaluation.main, [run.path], {"data": "none"})):
        with pytest.raises(ValueError, match="read or written by this command, too"):
            main(model, output=run.path / ".." / "run" / state.relative_to(run.path), **arguments)
    assert state.read_bytes().startswith(b"{")


@pytest.mark.parametrize("arguments", [["generation", "nowhere"], ["evaluation", "nowhere", "--data", "none"]])
def test_who_has_mistyped_does_not_wait_for_torch(arguments):
    command = [sys.executable, "-X", "importtime", "-m", f"d2plm_megatron.{arguments[0]}", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: nowhere: no checkpoint" in done.stderr
    assert " torch\n" not in done.stderr


@pytest.mark.parametrize("text", ["", "0", "9:3", "3:x", "a", "-1:5", "1:2:3", "1e3"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ValueError, match=f"^--length {text}: write a number of residues such as 120, or a range"):
        length_range(text)


@pytest.mark.parametrize("text", ["100001", "100:99999999999999999999"])
def test_what_no_protein_is_as_long_as_is_refused(text):
    with pytest.raises(ValueError, match=f"^--length {text}: no protein has more than 100,000 residues$"):
        length_range(text)
