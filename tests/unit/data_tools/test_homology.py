"""Which training proteins resemble a validation protein, and what happens when there are none to compare."""

import random
import shutil
from pathlib import Path

import pytest

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.fasta import write_fasta
from data_tools.preparation import raw_blocks
from data_tools.preparation import stages as preparation
from data_tools.prepare import main


def random_records(num_proteins: int, length: int = 60) -> list[tuple[str, str]]:
    rng = random.Random(0)
    return [(f"p{number}", "".join(rng.choices(CANONICAL_LETTERS, k=length))) for number in range(num_proteins)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")
def test_one_family_goes_on_without_homology_as_advised(command, tmp_path):
    rng = random.Random(0)
    [(_, ancestor)] = random_records(1, length=120)
    relatives = [
        (f"p{n}", "".join(rng.choice("AG") if rng.random() < 0.03 else r for r in ancestor)) for n in range(60)
    ]
    write_fasta(tmp_path / "x.fasta", relatives)
    words = ("--input", tmp_path / "x.fasta", "--validation", 0.2, "--workers", 1)
    code, _, err = command(main, *words, "--output", tmp_path / "out")
    assert code == 2 and "are they one family? try --no-homology" in err
    assert f"kept for it in {tmp_path / 'out' / '.work'}; to give up, remove that folder" in err
    [block] = (tmp_path / "out" / ".work" / "blocks").iterdir()
    cleaned = block.stat().st_mtime_ns, block.stat().st_ino
    assert command(main, *words, "--output", tmp_path / "out", "--min-coverage", 0.7)[0] == 2
    assert (block.stat().st_mtime_ns, block.stat().st_ino) == cleaned
    for folder in ("out", "fresh"):
        assert command(main, *words, "--output", tmp_path / folder, "--no-homology")[0] == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")
def test_a_group_of_blocks_without_training_proteins(command, tmp_path, monkeypatch):
    monkeypatch.setattr(raw_blocks, "_BLOCK_BYTES", 2_000)
    monkeypatch.setattr(preparation, "_BLOCKS_PER_GROUP", 1)
    records = random_records(80)
    write_fasta(tmp_path / "x.fasta", records + [(f"again_{name}", sequence) for name, sequence in records])
    words = ("--input", tmp_path / "x.fasta", "--output", tmp_path / "out", "--validation", 0.2, "--workers", 1)
    code, _, err = command(main, *words)
    assert (code, err) == (0, "")
