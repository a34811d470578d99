"""Names of datasets as people type them, and what they are answered."""

from pathlib import Path

import pytest

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.meant import meant_by

RULE = "a dataset is named by its prefix, without .bin or .idx"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies around after a preparation."""
    monkeypatch.chdir(tmp_path)
    Path("data/empty").mkdir(parents=True)
    Path("raw.lmdb").mkdir()
    Path("other").mkdir()
    for name in ("data/train.bin", "data/train.idx", "data/validation.idx", "my own.fasta.gz", "fam", "other/data.mdb"):
        Path(name).touch()


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("nothing", RULE),
        ("data/train.bin", f"{RULE}: write data/train"),
        ("data/train.idx", f"{RULE}: write data/train"),
        ("data", f"data is a folder, in which lies data/train and data/validation; {RULE}"),
        ("data/empty", f"data/empty is a folder, in which lies no dataset; {RULE}"),
        ("raw.lmdb", f"{RULE}; d2plm data lmdb-to-indexed --input raw.lmdb --output raw makes one"),
        ("other", f"{RULE}; d2plm data lmdb-to-indexed --input other --output other makes one"),
        ("my own.fasta.gz", "d2plm prepare --input 'my own.fasta.gz' --output 'my own' makes"),
        ("fam", "d2plm prepare --input fam --output fam_prepared makes"),
    ],
)
def test_what_to_write_or_to_run(typed: str, answer: str) -> None:
    assert answer in meant_by(typed)
    with pytest.raises(FileNotFoundError) as refusal:
        IndexedProteins(typed)
    assert str(refusal.value) == f"{typed}.bin is missing ({meant_by(typed)})"
