"""What each protein begins with: templates, proteins to vary, lengths, and residues that may be found."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.generation.exclusion import read_known
from d2plm_megatron.generation.lengths import read_lengths
from d2plm_megatron.generation.prompts import FreePrompts, GivenPrompts, RestrictedPrompts, read_starts, read_templates
from d2plm_megatron.generation.residues import read_residue_table
from d2plm_megatron.proteins import alphabet

LETTERS = alphabet.CANONICAL_LETTERS


def test_all_blanks_are_one(tmp_path: Path) -> None:
    path = tmp_path / "t.fasta"
    path.write_text(">one and more\nMKT<mask><MASK>\nVLA\n>two\nmk#?_v\n")
    assert read_templates(["M#?_<mask>v", str(path)]) == [
        ("template_1", "M____V"), ("one", "MKT__VLA"), ("two", "MK___V"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MKJ_", "--template MKJ_: 'J' at position 3 is no canonical residue"),
        ("M<mask>X", "'X' at position 3 is no canonical residue"),
        ("MKT", "template_1: no blank (_) in it, so that there is nothing to find"),
        ("  ", "no residues in it"),
        ("none/x.fasta", "--template none/x.fasta: no such file"),
        ("x.fasta", "--template x.fasta: no such file"),
        ("M" * 5000, "no blank"),
    ],
)
def test_template_that_is_none(text: str, message: str) -> None:
    with pytest.raises((ValueError, OSError)) as error:
        read_templates([text])
    assert message in str(error.value)


def test_what_is_varied_has_no_blanks(tmp_path: Path) -> None:
    path = tmp_path / "s.fasta"
    path.write_text(">whole\nMKV\n>part\nM_V\n")
    with pytest.raises(ValueError, match=r"s\.fasta, record part: blanks \(_\) in it; give it as --template"):
        read_starts(path)


def test_each_record_has_its_turns() -> None:
    prompts = GivenPrompts([("a", "M__"), ("b", "K_")], each=2, word="template")
    assert [prompts.prompt(n, lambda: 0.5).origin for n in range(len(prompts))] == [
        "template=a", "template=a", "template=b", "template=b",
    ]  # fmt: skip
    assert (prompts.shortest, prompts.longest) == (2, 3)


def test_empirical_lengths_are_drawn_as_often_as_they_are(tmp_path: Path, write_proteins: Callable[..., Path]) -> None:
    path = tmp_path / "x.fasta"
    path.write_text(">a\nMK\n>b\nMKV\n>c\nMK\n>d\nMKTVR\n")
    lengths = read_lengths(f"like:{path}", Data())
    grid = [(n + 0.5) / 100 for n in range(100)]
    assert Counter(map(lengths.drawn, grid)) == {2: 50, 3: 25, 5: 25}
    assert (lengths.shortest, lengths.longest) == (2, 5)
    first, second = write_proteins([7] * 5, name="first"), write_proteins([9, 11], name="second")
    mixed = read_lengths("like:training", Data(train=f"{first}:0.6 {second}:0.4"))
    assert Counter(map(mixed.drawn, grid)) == {7: 60, 9: 20, 11: 20}
    assert Counter(map(read_lengths(f"like:{second}", Data()).drawn, grid)) == {9: 50, 11: 50}


def test_chunks_count_as_one_protein(tmp_path: Path) -> None:
    whole = alphabet.encode("MKTVRQGLLA")
    with IndexedWriter(str(tmp_path / "long")) as writer:
        writer.add(whole[:4])
        writer.add(whole[4:], continues=True)
        writer.add(alphabet.encode("WW"))
    training = Data(train=str(tmp_path / "long"))
    assert Counter(map(read_lengths("like:training", training).drawn, [0.25, 0.75])) == {2: 1, 10: 1}
    known = read_known(["training", str(_fasta(tmp_path))], training)
    assert "MKTVRQGLLA" in known and "WW" in known and "MKV" in known
    assert "MKTV" not in known and "RQGLLA" not in known


def _fasta(folder: Path) -> Path:
    path = folder / "few.fasta"
    path.write_text(">a\nmkv\n>b\nM\n")
    return path


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: read_lengths("like:training", Data()), "training: this model does not say what it was trained on"),
        (lambda: read_known(["training"], Data()), "training: this model does not say what it was trained on"),
        (lambda: read_lengths("like:training", Data(train="/nowhere")), "/nowhere.bin is missing"),
        (lambda: read_lengths("like:/nowhere", Data()), "/nowhere"),
        (lambda: read_known(["/nowhere"], Data()), "/nowhere.bin is missing"),
    ],
)
def test_data_that_are_not_there(read: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, OSError)) as error:
        read()
    assert message in str(error.value)


def test_all_rows_of_a_table_count(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("position,allowed,forbidden\n*,,C\n2-3,AVC,\n3,,v\n")
    table = read_residue_table(path, "w")
    assert table is not None
    rest = LETTERS.replace("C", "").replace("W", "")
    assert table.allowed(4) == (rest, "AV", "A", rest)
    prompts = RestrictedPrompts(GivenPrompts([("a", "M_V_")], 1, "template"), table)
    assert prompts.prompt(0, lambda: 0.5).allowed == (rest, "AV", "A", rest)
    assert read_residue_table(None) is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("position,allowed\n9,A\n", "line 2: position 9 lies beyond proteins of 8 residues, the shortest"),
        ("position,allowed\n1-3,A\n2,V\n", "line 2, {}, line 3: at position 2 no residue is allowed"),
        ("position,allowed\n2,B\n", "line 2: 'B' is no canonical residue"),
        ("position,allowed\n0,A\n", "line 2: position '0' is none; write 7, a range such as 5-10, or * for"),
        ("position,allowed\n5-3,A\n", "line 2: position '5-3' is none"),
        ("position,allowed,forbidden\n2,,\n", "line 2: write a position, and the letters"),
        ("place,allowed\n2,A\n", "no column 'position'; there are place, allowed"),
        ("position,allow\n2,A\n", "a column 'allow'; the first line must be position,allowed,forbidden"),
        ("position,allowed\n2\n", "line 2: 1 columns, where the first line names 2"),
        ("", "no column 'position'; there are none"),
    ],
)
def test_table_that_cannot_be(rows: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(rows)
    with pytest.raises(ValueError) as error:
        table = read_residue_table(path)
        assert table is not None
        RestrictedPrompts(FreePrompts(read_lengths("8:9", Data()), 3), table)
    assert str(error.value).startswith(str(path)) and message.format(path) in str(error.value)


def test_everything_forbidden() -> None:
    table = read_residue_table(None, LETTERS)
    assert table is not None
    with pytest.raises(ValueError, match=f"^--forbid {LETTERS}: at position 1 no residue is allowed"):
        table.check(5)
    assert np.unique([len(letters) for letters in table.allowed(3)]).tolist() == [0]
