"""The command up to torch: what cannot be asked for is one line, at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from d2plm_megatron.evaluation import __main__ as evaluation
from d2plm_megatron.generation import __main__ as generation
from d2plm_megatron.generation.lengths import length_range
from d2plm_megatron.runs.folder import RunFolder

WRONG = [
    ("--length 0", "--length 0: write a number of residues"),
    ("--length 1000000", "--length 1000000: no protein has more than 100,000 residues"),
    ("--length like:training", "proteins.bin is missing"),
    ("--steps 0", "Invalid value for '--steps': "),
    ("--template MKJ_", "--template MKJ_: 'J' at position 3 is no canonical residue"),
    ("--template MK_ --length 9", "--length and --template: each says what the proteins are to be"),
    ("--contigs 5/A1-3", "--contigs: segment A1-3: there is no protein A without --motif"),
    ("--contigs 5/A1-3 --motif {empty}", "empty.fasta: empty, no record in it"),
    ("--contigs 5/A1-30 --motif {few}", "--contigs: segment A1-30: a, protein A of"),
    ("--contigs 5/C1-3 --motif {few}", "there is no protein C in"),
    ("--contigs 5/x", "segment 2, 'x', is none"),
    ("--motif {few}", "--motif: goes with --contigs, which is missing"),
    ("--start {few} --strength 0", "--strength 0: must be above 0"),
    ("--start {few} --strength 1.5", "--strength 1.5: must be above 0, for the same proteins, and at most 1"),
    ("--strength 0.5", "--strength: goes with --start, which is missing"),
    ("--length 5 --residues {table}", "table.csv, line 2: position 9 lies beyond proteins of 5 residues"),
    ("--forbid LAGVSERTIDPKQNFYMHWC", "at position 1 no residue is allowed"),
    ("--forbid J", "--forbid J: 'J' is no canonical residue"),
    ("--exclude nowhere", "nowhere.bin is missing"),
    ("--output {few} --start {few}", "few.fasta: is read or written by this command, too"),
]
LOOP = """
import json, sys
from d2plm_megatron import console
from d2plm_megatron.generation.__main__ import main
for words in json.loads(sys.argv[1]):
    try:
        console.run(main, words=words)
    except SystemExit as end:
        print(f"exit {end.code}", file=sys.stderr)
assert "torch" not in sys.modules
"""


def test_files_of_the_run_are_not_replaced(tmp_path, write_checkpoint):
    run = RunFolder(tmp_path / "run")
    state = write_checkpoint(run, 1) / "state.json"
    for main in (generation.main, evaluation.main):
        arguments = {"data": "none"} if main is evaluation.main else {}
        with pytest.raises(ValueError, match="read or written by this command, too"):
            main(run.path, output=run.path / ".." / "run" / state.relative_to(run.path), **arguments)
    assert state.read_bytes().startswith(b"{")


@pytest.mark.parametrize("arguments", [["generation", "nowhere"], ["evaluation", "nowhere", "--data", "none"]])
def test_who_has_mistyped_does_not_wait_for_torch(arguments):
    command = [sys.executable, "-X", "importtime", "-m", f"d2plm_megatron.{arguments[0]}", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: nowhere: no checkpoint" in done.stderr
    assert " torch\n" not in done.stderr


def test_what_cannot_be_asked_for_is_one_line_before_torch(run: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.{ending}" for name, ending in
             (("few", "fasta"), ("empty", "fasta"), ("table", "csv"))}  # fmt: skip
    files["few"].write_text(">a\nMKTVRQGLLA\n>b\nWWWW\n")
    files["empty"].write_text("")
    files["table"].write_text("position,allowed\n9,A\n")
    prefix = tmp_path / "gone"
    typed = [[str(run), *(word.format(**files) for word in words.split())] for words, _ in WRONG]
    moved = [(path, prefix.with_suffix(path.suffix)) for path in run.parent.glob("proteins.*")]
    for path, away in moved:
        path.rename(away)
    done = subprocess.run([sys.executable, "-c", LOOP, json.dumps(typed)], capture_output=True, text=True)
    for path, away in moved:
        away.rename(path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2 * len(WRONG) and set(lines[1::2]) == {"exit 2"}
    assert [line for line, (_, message) in zip(lines[::2], WRONG, strict=True) if message not in line] == []


@pytest.mark.parametrize("text", ["", "0", "9:3", "3:x", "a", "-1:5", "1:2:3", "1e3"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ValueError, match=f"^--length {text}: write a number of residues such as 120, or a range"):
        length_range("--length", text)


@pytest.mark.parametrize("text", ["100001", "100:99999999999999999999"])
def test_what_no_protein_is_as_long_as_is_refused(text):
    with pytest.raises(ValueError, match=f"^--length {text}: no protein has more than 100,000 residues$"):
        length_range("--length", text)
