"""Which training proteins resemble a validation protein, and what happens when there are none to compare."""

import random
import shutil
from pathlib import Path

import pytest

from d2plm_megatron.alphabet import CANONICAL_LETTERS
from data_tools import preparation, raw_blocks
from data_tools.fasta import write_fasta
from data_tools.homology import Homology, read_hits, search
from data_tools.prepare import main


def random_records(num_proteins: int, length: int = 60) -> list[tuple[str, str]]:
    rng = random.Random(0)
    return [(f"p{number}", "".join(rng.choices(CANONICAL_LETTERS, k=length))) for number in range(num_proteins)]


def test_no_query_has_no_match(tmp_path: Path) -> None:
    write_fasta(tmp_path / "targets.fasta", [("0", "MKTVRQG")])
    search(tmp_path / "hits.npy", [], tmp_path / "targets.fasta", Homology(0.5, 0.8, 7.0, "1G"), 1)
    assert len(read_hits(tmp_path / "hits.npy")) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hits.npy", "targets.fasta"]


@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")
def test_a_group_of_blocks_without_training_proteins(command, tmp_path, monkeypatch):
    monkeypatch.setattr(raw_blocks, "_BLOCK_BYTES", 2_000)
    monkeypatch.setattr(preparation, "_BLOCKS_PER_GROUP", 1)
    records = random_records(80)
    write_fasta(tmp_path / "x.fasta", records + [(f"again_{name}", sequence) for name, sequence in records])
    words = ("--input", tmp_path / "x.fasta", "--output", tmp_path / "out", "--validation", 0.2, "--workers", 1)
    code, _, err = command(main, *words)
    assert (code, err) == (0, "")
