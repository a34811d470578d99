import json
import os
from pathlib import Path

import pytest

from d2plm_megatron.files import atomic, check_outputs, stem_of, write_json, write_text


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is done to files, in order: ("sync", path) or ("rename", final path)."""
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: done.append(("sync", str(Path(f"/proc/self/fd/{fd}").readlink()))) or fsync(fd)
    )
    monkeypatch.setattr(Path, "replace", lambda self, to: done.append(("rename", str(to))) or replace(self, to))
    return done


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells files by their descriptors")
def test_what_gets_a_name_is_on_the_disk_before_and_its_name_after(tmp_path, calls):
    with atomic(tmp_path / "a", tmp_path / "b") as (a, b):
        a.write_text("x")
        b.mkdir()
        (b / "inner").write_text("y")
    renames = [number for number, (kind, _) in enumerate(calls) if kind == "rename"]
    assert {path for _, path in calls[: renames[0]]} == {str(a), str(b), str(b / "inner")}
    assert [calls[number][1] for number in renames] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert calls[renames[-1] + 1 :] == [("sync", str(tmp_path))]


def test_a_block_that_raises_leaves_what_was_there(tmp_path):
    write_text(tmp_path / "a", "before")
    with pytest.raises(ValueError, match="no"), atomic(tmp_path / "a", tmp_path / "b") as (a, _):
        a.write_text("after")
        raise ValueError("no")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "before")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with a hard link, a symbolic link to it, and a link to its folder."""
    (tmp_path / "d").mkdir()
    path = tmp_path / "a.fasta"
    path.write_text(">a\nM\n")
    os.link(path, tmp_path / "hard")
    (tmp_path / "soft").symlink_to("a.fasta")
    (tmp_path / "folder").symlink_to(tmp_path)
    return path


@pytest.mark.parametrize("other", ["a.fasta", "d/../a.fasta", "hard", "soft", "folder/a.fasta", "d/../folder/soft"])
def test_an_output_that_is_an_input_is_refused_by_whatever_path(tmp_path, source, other):
    with pytest.raises(ValueError, match="read or written by this command, too"):
        check_outputs([tmp_path / other], [tmp_path / "elsewhere", source])


def test_outputs_differ_from_each_other_though_none_is_there_yet(tmp_path, source):
    check_outputs([tmp_path / "new", tmp_path / "d" / "new"], [source])
    with pytest.raises(ValueError, match="read or written by this command, too"):
        check_outputs([tmp_path / "new", tmp_path / "folder" / "d" / ".." / "new"], [source])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("d", "is a directory"),
        ("a.fasta/b", "a.fasta is a file, so that nothing can be below it"),
        ("a.fasta/b/c", "a.fasta is a file, so that nothing can be below it"),
        ("nowhere/b/c", "nowhere is a link that leads nowhere"),
        ("pipe", "is no ordinary file"),
    ],
)
def test_what_cannot_be_a_file_is_refused(tmp_path, source, output, message):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=message):
        check_outputs([tmp_path / output])


def test_json_has_no_number_that_is_none(tmp_path: Path) -> None:
    value = {"perplexity": float("inf"), "rows": [{"x": float("nan"), "y": 1.5}, [float("-inf")]], "n": 3, "s": "é"}
    write_json(tmp_path / "x.json", value)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse) == {
        "perplexity": None,
        "perplexity_reason": "infinite",
        "rows": [{"x": None, "x_reason": "not a number", "y": 1.5}, [None]],
        "n": 3,
        "s": "é",
    }


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.fasta", "a"), ("family.train.fasta.gz", "family.train"), ("family.test.fa", "family.test"), ("a", "a")],
)
def test_a_stem_tells_files_apart(name: str, stem: str) -> None:
    assert stem_of(Path("d.e") / name) == stem


def test_what_is_there_is_kept_unless_it_is_to_be_overwritten(tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("of hours")
    check_outputs([tmp_path / "new.csv"], overwrite=False)
    check_outputs([there], overwrite=True)
    with pytest.raises(ValueError, match=r"there\.csv: is there already; name another file, or give --overwrite"):
        check_outputs([there], overwrite=False)
