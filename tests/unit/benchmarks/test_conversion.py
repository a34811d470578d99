import random
from pathlib import Path

import pytest

from benchmarks.conversion import main
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS


def test_all_contenders_run_and_ours_writes_what_megatrons_builder_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(0)
    records = (f">p{number}\n{''.join(rng.choices(CANONICAL_LETTERS, k=50))}\n" for number in range(20))
    (tmp_path / "x.fasta").write_text("".join(records))
    main(tmp_path / "x.fasta", rounds=1, sample=3)
    printed = capsys.readouterr().out
    assert "20 proteins, 1,000 residues" in printed
    for baseline in ("scan + JSON", "this package", "Megatron's builder", "EsmTokenizer"):
        assert baseline in printed
