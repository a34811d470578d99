import random
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools import fasta_to_lmdb
from data_tools.fasta_to_lmdb import main
from data_tools.formats.proteins_lmdb import ProteinsLmdb

REPOSITORY = Path(__file__).parents[3]


def sequences_of(path: Path) -> list[str]:
    with ProteinsLmdb(path) as proteins:
        return [record.sequence for record in proteins]


def random_fasta(path: Path, num_proteins: int) -> None:
    rng = random.Random(0)
    sequences = ("".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=30)) for _ in range(num_proteins))
    path.write_text("".join(f">p{number}\n{sequence}\n" for number, sequence in enumerate(sequences)))


def test_prints_what_happened_to_the_records(command, tmp_path):
    (tmp_path / "x.fasta").write_text(">a\nmkt\n>b\nMK-T\n>c\nMKJ*\n>d\nGG\n")
    code, out, _ = command(main, "--input", tmp_path / "x.fasta", "--output", tmp_path / "x.lmdb")
    assert code == 0
    rows = {cells[1].strip(): cells[2].strip() for line in out.splitlines() if len(cells := line.split("│")) == 4}
    assert rows == {
        "read": "4",
        f"written to {tmp_path / 'x.lmdb'}": "3",
        "upper-cased": "1",
        "stop (*) removed at the end": "1",
        "J (leucine or isoleucine) became X": "1",
        "skipped: gap (- or .)": "1",
    }
    assert "skipped: b: '-' at position 3 is no residue" in out
    assert sequences_of(tmp_path / "x.lmdb") == ["MKT", "MKX", "GG"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.fasta: empty"),
        ("MKT\n", "line 1: 'MKT' comes before the first '>'"),
        (">a\nthis is no protein 1\n", "none of the 1 records is a protein"),
        (">a\n\n", "none of the 1 records is a protein; the first is a: no residue in it"),
        (f">n\n{'ACGT' * 9}\n" * 12, "translate them first"),
        (None, "x.fasta: no such file"),
    ],
)
def test_refuses_bad_input_and_leaves_nothing(refused, tmp_path, text, message):
    if text is not None:
        (tmp_path / "x.fasta").write_text(text)
    assert message in refused(main, "--input", tmp_path / "x.fasta", "--output", tmp_path / "x.lmdb")


def test_never_writes_over_its_input(refused, tmp_path):
    random_fasta(tmp_path / "x.fasta", 3)
    message = refused(main, "--input", tmp_path / "x.fasta", "--output", tmp_path / "x.fasta")
    assert "read or written by this command, too" in message


def test_a_full_disk_leaves_nothing(refused, tmp_path, small_disk):
    random_fasta(tmp_path / "x.fasta", 3000)
    arguments = ("--input", tmp_path / "x.fasta", "--output", small_disk / "x.lmdb")
    assert "no space left on the device" in refused(main, *arguments, folder=small_disk)


def test_an_interrupt_keeps_the_older_database(command, tmp_path, monkeypatch):
    random_fasta(tmp_path / "x.fasta", 10)
    arguments = (main, "--input", tmp_path / "x.fasta", "--output", tmp_path / "x.lmdb")
    assert command(*arguments)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(*_: object):
        yield "p0", "MKT"
        raise KeyboardInterrupt

    monkeypatch.setattr(fasta_to_lmdb, "read_proteins", interrupted)
    assert command(*arguments)[0] == 130
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_is_never_replaced(command, tmp_path):
    random_fasta(tmp_path / "x.fasta", 3)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("kept")
    code, _, err = command(main, "--input", tmp_path / "x.fasta", "--output", tmp_path / "precious")
    assert code == 2 and "is a directory" in err
    assert (tmp_path / "precious" / "data").read_text() == "kept"


def test_as_a_process_on_bad_input(tmp_path):
    (tmp_path / "x.fasta").write_text(">a\nM1T\n")
    arguments = ["--input", str(tmp_path / "x.fasta"), "--output", str(tmp_path / "x.lmdb")]
    done = subprocess.run(
        [sys.executable, "-m", "data_tools.fasta_to_lmdb", *arguments], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 2 and done.stdout == ""
    reason = "none of the 1 records is a protein; the first is a: '1' at position 2 is no residue"
    assert done.stderr == f"error: {tmp_path}/x.fasta: {reason}\n"
