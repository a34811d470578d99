"""Which proteins belong together, from a table to the file that training draws from."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard

from d2plm_megatron.data.clusters import Clusters
from data_tools import cluster
from data_tools.formats.lmdb_writer import LmdbWriter, to_value

TABLE = "P1\tP1\nP1\tP4\nP2\tP2/10-200\nP3\tP3\nP3\tP5\n"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with LmdbWriter(tmp_path / "x.lmdb") as writer:
        for name in ("P5", "P1", "P2/10-200", "P3"):
            writer.add(name, "MKV")
        writer.add_values(to_value(f"P4/{1 + 3 * n}-{3 + 3 * n}", "MKV", (n + 1, 2)) for n in range(2))
    return tmp_path / "x.lmdb"


def members(path: Path) -> list[set[int]]:
    [(proteins, sizes)] = Clusters(path, 6).pieces()
    return sorted(({*own.tolist()} for own in np.split(proteins, np.cumsum(sizes)[:-1])), key=min)


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz"])
def test_members_of_a_table(database: Path, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    table, output = tmp_path / f"table.{ending}", tmp_path / "x.clusters.npy"
    table.write_bytes(gzip.compress(TABLE.encode()) if ending.endswith("gz") else TABLE.replace("\n", "\r\n").encode())
    cluster.main(database, table, output)
    assert members(output) == [{0, 3}, {1, 4, 5}, {2}]
    assert "6 proteins in 3 clusters" in capsys.readouterr().out


def test_a_line_may_come_twice(database: Path, tmp_path: Path) -> None:
    (tmp_path / "table").write_text(TABLE * 2)
    cluster.main(database, tmp_path / "table", tmp_path / "x.clusters.npy")
    assert members(tmp_path / "x.clusters.npy") == [{0, 3}, {1, 4, 5}, {2}]


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_a_table_cut_off_is_one_line(refused, database: Path, tmp_path: Path, ending, pack) -> None:
    table = tmp_path / f"table.tsv.{ending}"
    table.write_bytes(pack(TABLE.encode() * 1000)[:-9])
    words = ("--input", database, "--table", table, "--output", tmp_path / "x.clusters.npy")
    assert f"table.tsv.{ending}: " in refused(cluster.main, *words)


@pytest.mark.parametrize(
    ("table", "output", "message"),
    [
        ("P1\tP1\n", "x.clusters.npy", "has no line for P5"),
        ("P1 P1\n", "x.clusters.npy", "line 1: expected a cluster and an id with a tab between, not 'P1 P1'"),
        ("", "x.clusters.npy", "the table is empty"),
        (TABLE + "P3\tP3\nP2\tP5\n", "x.clusters.npy", "P5 is in two clusters, P3 and P2"),
        (TABLE, "x.npy", "must end in .clusters.npy"),
    ],
)
def test_what_cannot_be_used_is_one_line(database: Path, tmp_path: Path, table: str, output: str, message: str) -> None:
    (tmp_path / "table").write_text(table)
    command = [sys.executable, "-m", "data_tools.cluster", "--input", database, "--table", tmp_path / "table"]
    done = subprocess.run([*map(str, command), "--output", str(tmp_path / output)], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / output).exists()
