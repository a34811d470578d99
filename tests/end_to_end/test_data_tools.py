"""From raw proteins to files that are checked, with the commands that a user types."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _succeed(*words: object) -> str:
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    return done.stdout


def test_simulated_proteins_become_training_data(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw.fasta", tmp_path / "out"
    _succeed("data_tools.simulate", "--output", raw, "--proteins", 600)
    more = ("--validation", 0.1, "--no-homology", "--workers", 2)
    printed = _succeed("data_tools.prepare", "--input", raw, "--output", out, *more)
    manifest = json.loads((out / "manifest.json").read_text())
    outcomes = manifest["outcomes"]
    assert outcomes["read"] == 600 == outcomes["duplicates"] + outcomes["train"] + outcomes["validation"]
    assert f"{outcomes['validation']}" in printed
    for split in ("train", "validation"):
        residues = manifest["splits"][split]["residues"]
        checked = _succeed("data_tools.inspect_indexed", out / split, "--plot", tmp_path / f"{split}.png")
        assert f"whole; {outcomes[split]:,} proteins, {residues:,} residues" in checked
        _succeed("data_tools.lmdb_to_indexed", "--input", out / f"{split}.lmdb", "--output", tmp_path / split)
        for ending in (".bin", ".idx"):
            assert (tmp_path / f"{split}{ending}").read_bytes() == (out / f"{split}{ending}").read_bytes()
