"""What cannot be prepared is refused in a line, and work that was damaged is made anew or named."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.preparation import raw_blocks
from data_tools.preparation import stages as preparation
from data_tools.prepare import main
from tests.prepared import arguments, contents, random_records, side, write_records


def test_refuses_chunks_of_proteins_that_were_cut(command, tmp_path):
    source = write_records(tmp_path / "x.fasta", random_records(50))
    assert command(*arguments(source, tmp_path / "cut", "--long", "split", "--max-length", 40))[0] == 0
    code, _, err = command(*arguments(tmp_path / "cut" / "train.lmdb", tmp_path / "out"))
    first = next(record.key for record in side(tmp_path / "cut", "train") if record.part)
    assert code == 2 and f"train.lmdb, key '{first}': a chunk of a cut protein" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--long", "cut"), "--long cut: expected crop, split, drop"),
        (("--max-length", 100), "--max-length is for --long split or drop; with crop data.max_length_residues"),
        (("--validation", 1), "--validation 1.0: expected 0 up to but not 1"),
        (("--split-by", "length"), "--split-by length: expected"),
        (("--clusters", "x.tsv"), "say that too"),
        (("--min-sequence-identity", 2), "--min-sequence-identity 2.0: expected 0 to 1"),
        (("--sensitivity", 9), "--sensitivity 9.0: expected 1 to 7.5"),
        (("--values", "pickle"), "--values pickle: expected json or raw"),
        (("--keys", "hex"), "--keys hex: expected numbers or stored"),
        (("--input", "{source}"), "an --input is named twice"),
        (("--input", "nowhere.fasta"), "nowhere.fasta: no such file"),
    ],
)
def test_refuses_bad_arguments_and_writes_nothing(refused, tmp_path, more, message):
    source = write_records(tmp_path / "x.fasta", random_records(5))
    words = [str(word).format(source=source) for word in more]
    assert message in refused(*arguments(source, tmp_path / "out", *words))


def test_refuses_a_folder_with_prepared_data(command, refused, tmp_path):
    source = write_records(tmp_path / "x.fasta", random_records(50))
    assert command(*arguments(source, tmp_path / "out"))[0] == 0
    assert "holds prepared data already" in refused(*arguments(source, tmp_path / "out"))


@pytest.mark.parametrize(
    ("records", "fraction", "message"),
    [
        ([(f"n{number}", "ACGT" * 20) for number in range(12)], 0.2, "these are nucleotides"),
        ([(f"n{number}", "ACGT" * (200 if number == 5 else 20)) for number in range(13)], 0.2, "these are nucleotides"),
        ([("a", "MK1T")], 0, "none of the 1 records is a protein"),
        ([("a", "MK-T")], 0, "1 of 1 records hold gaps (- or .), as in an alignment; --gaps remove takes them out"),
        ([(f"a{number}", "MK-T") for number in range(20)] + [("b", "MKT")], 0.2, "20 of 21 records hold gaps"),
        ([("a", "M" * 10_000_000)], 0, "were several records joined?"),
        (
            [("a", "MKT")] * 6,
            0.2,
            "none has such a hash; give another --validation, or more proteins (25 different ones are enough), or "
            "--split-by id if they are one side of an earlier split",
        ),
        (
            [("a", "MKT")],
            0.2,
            "--validation 0.2: is less than one of 1 records; give 10 records or more, or 0 for none",
        ),
        (
            [("a", "MKT")] * 60,
            0.005,
            "is less than one of 60 records; give --validation 0.083, for about 5, or 0 for none",
        ),
    ],
)
def test_refuses_what_cannot_be_training_data_and_leaves_nothing(refused, tmp_path, records, fraction, message):
    source = write_records(tmp_path / "x.fasta", records)
    more = ("--long", "drop", "--max-length", 500, "--validation", fraction)
    assert message in refused(*arguments(source, tmp_path / "out", *more))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> tuple[Path, Path, dict[str, bytes]]:
    """An input, the work that a crash before the last renames leaves of it, and what should come of it."""
    folder = tmp_path_factory.mktemp("interrupted")
    source = write_records(folder / "x.fasta", [*random_records(60), ("again", random_records(1)[0][1])])
    options = {"validation": 0.2, "homology": False, "workers": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_blocks, "_BLOCK_BYTES", 2_000)
        main([source], folder / "whole", **options)
        patch.setattr(preparation, "publish", lambda renames: sys.exit("crash"))
        with pytest.raises(SystemExit):
            main([source], folder / "work", **options)
    return source, folder / "work", contents(folder / "whole")


def tampered(data: bytes) -> st.SearchStrategy[bytes]:
    """What may become of a file: cut, emptied, longer, zeroed, of another kind, with a byte or some changed."""
    cut = st.integers(0, len(data)).map(lambda end: data[:end])
    place = st.integers(0, len(data) - 1)
    changed = st.builds(
        lambda at, new: data[:at] + new + data[at + len(new) :], place, st.binary(min_size=1, max_size=4)
    )
    foreign = st.sampled_from(
        [b"", bytes(len(data)), b"{}", b"null", b"[" * 10_000, b"PK\x03\x04", b"\x93NUMPY\x01\x00"]
    )
    return st.one_of(cut, changed, foreign, st.binary(max_size=200), st.binary(min_size=1).map(data.__add__))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_work_that_is_damaged_is_made_anew_or_named(interrupted, data):
    source, work, whole = interrupted
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_blocks, "_BLOCK_BYTES", 2_000)
        out = Path(shutil.copytree(work, Path(name, "out")))
        names = [
            "plan.json",
            "outcomes",
            "outcomes-final",
            "blocks/00000000.npz",
            "blocks/00000001.npz",
            "results/train.idx",
        ]
        path = out / ".work" / data.draw(st.sampled_from(names))
        path.write_bytes(data.draw(tampered(path.read_bytes())))
        try:
            main([source], out, validation=0.2, homology=False, workers=1)
        except ValueError as error:
            assert path.name == "plan.json" and str(out / ".work") in str(error) and "remove" in str(error)
        else:
            assert contents(out) == whole


@pytest.mark.parametrize("name", ["plan.json", "outcomes", "blocks/00000000.npz"])
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_work_that_is_no_file_is_not_waited_for(interrupted, tmp_path, name, put):
    source, work, _ = interrupted
    out = Path(shutil.copytree(work, tmp_path / "out"))
    (out / ".work" / name).unlink()
    put(out / ".work" / name)
    with pytest.raises(ValueError, match=f"{name}: is no ordinary file"):
        main([source], out, validation=0.2, homology=False, workers=1)


def test_without_mmseqs_says_how_to_go_on(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    source = write_records(tmp_path / "x.fasta", random_records(50))
    line = refused(main, "--input", source, "--output", tmp_path / "out")
    assert "apt-get install mmseqs2" in line and "--no-homology" in line and line.count("install it") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(refused, tmp_path):
    source = write_records(tmp_path / "x.fasta", random_records(50))
    (tmp_path / "closed").mkdir(mode=0o555)
    assert "permission denied" in refused(*arguments(source, tmp_path / "closed" / "out"))
