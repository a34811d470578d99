"""Tables of proteins, by the real readers."""

import csv
import gzip
from pathlib import Path

import pytest
from pyarrow import parquet

from d2plm_megatron.proteins import tables
from d2plm_megatron.proteins.tables import check_suffix, column_names, read_table, wider, write_table

COLUMNS = {"id": str, "length": int, "score": float}
ROWS = [("a,b", 3, 0.1), ('quoted "x"', 4, None), ("ü", 5, -1e-9)]


def test_rows_are_those_that_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROWS_AT_ONCE", 2)
    for name in ("t.csv", "t.parquet"):
        with write_table(tmp_path / name, COLUMNS) as write:
            for row in ROWS:
                write(row)
            assert not (tmp_path / name).exists()
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [tuple(row.values()) for row in csv.DictReader(file)] == [
            ("a,b", "3", "0.1"),
            ('quoted "x"', "4", ""),
            ("ü", "5", "-1e-09"),
        ]
    found = parquet.read_table(tmp_path / "t.parquet")
    assert [tuple(row.values()) for row in found.to_pylist()] == ROWS
    assert [line.values["id"] for line in read_table(tmp_path / "t.csv", COLUMNS)] == [row[0] for row in ROWS]


def test_what_ends_in_an_error_leaves_no_file(tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(KeyError), write_table(tmp_path / name, COLUMNS) as write:
            write(ROWS[0])
            raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_tables_of_others_are_read(tmp_path: Path) -> None:
    for name, text in (
        ("a.csv", "mutant,x\r\nA1G,1\r\n\r\n"),
        ("b.tsv", "\ufeffmutant\tx\nA1G\t1"),
        ("c.csv", "mutant;x\nA1G;1\n"),
    ):
        (tmp_path / name).write_bytes(text.encode())
        assert [line.values for line in read_table(tmp_path / name, ["x"])] == [{"mutant": "A1G", "x": "1"}]
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b'mutant,title\nA1G,"two\nlines"\nA1C,one\n'))
    found = list(read_table(tmp_path / "d.csv.gz"))
    assert [line.values["title"] for line in found] == ["two\nlines", "one"]
    assert found[1].where.endswith("d.csv.gz, line 4")
    assert column_names(tmp_path / "d.csv.gz") == ["mutant", "title"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'mutant'; there are a, b"),
        ("", "no column 'mutant'; there are none"),
        ("mutant,b\n1,2\n3\n", "line 3: 1 columns, where the first line names 2"),
        ("mutant,b, b\n1,2,3\n", "2 columns are named 'b'; give each its own name"),
        ('mutant,b\n1,"2\n', "is a quotation mark not closed"),
    ],
)
def test_what_is_no_table_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_table(tmp_path / "t.csv", ["mutant"]))


def test_kinds_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"x.xlsx: a table ends in .csv or .parquet"):
        check_suffix(Path("x.xlsx"))
    (tmp_path / "t.csv").write_text("mutant\n")
    with pytest.raises(ValueError, match="no row in it"):
        column_names(tmp_path / "t.csv")
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    check_suffix(Path("x.csv"))
    with pytest.raises(ModuleNotFoundError, match="needs the package pyarrow"):
        check_suffix(Path("x.parquet"))


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-20", ""], int), (["1", "2.5", "nan"], float), (["1e-3", ".5", "+2"], float), (["007"], str),
        (["1", "A2G"], str), (["", " "], None), (["1_000"], str), (["inf"], str), (["9" * 19], float),
    ],
)  # fmt: skip
def test_a_column_holds_numbers_where_numbers_give_back_its_text(texts: list[str], kind: type | None) -> None:
    found = None
    for text in texts:
        found = wider(found, text)
    assert found is kind
