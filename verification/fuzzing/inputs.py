"""Attacks on what proteins come from: FASTA, LMDB, tables of clusters, work that was begun, and what a report reads."""

import gzip
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import lmdb
import numpy as np
import zstandard

from d2plm_megatron.data.clusters import Clusters
from d2plm_megatron.proteins.named import read_proteins
from data_tools import cluster, fasta_to_lmdb, inspect_indexed, lmdb_to_indexed, prepare
from data_tools.formats.proteins_lmdb import ProteinsLmdb
from data_tools.preparation.stages import Preparation
from verification.fuzzing import damage, plain
from verification.fuzzing.attack import Attack, Reading, Valid
from verification.fuzzing.subjects import command, proteins

FASTA, LMDB, TABLE, OUTPUT = "in.fasta", "in.lmdb", "clusters.tsv", "out"
_PREPARED = ("train.bin", "train.idx", "validation.bin", "validation.idx", "rejected.tsv")


def make(folder: Path) -> None:
    """Proteins as FASTA and as LMDB, and a table of their clusters."""
    records = proteins()
    (folder / FASTA).write_text("".join(f">{name} text\n{letters}\n" for name, letters in records), encoding="utf-8")
    (folder / TABLE).write_text("".join(f"c{n // 3}\t{name}\n" for n, (name, _) in enumerate(records)))
    command(fasta_to_lmdb.main, "--input", folder / FASTA, "--output", folder / LMDB)


def make_begun(folder: Path) -> None:
    """A preparation that was killed before it wrote anything but its work."""
    make(folder)
    with patch.object(Preparation, "_write", side_effect=KeyboardInterrupt), suppress(SystemExit):
        command(prepare.main, *_prepare_arguments(folder))


def _prepare_arguments(folder: Path) -> list[object]:
    os.utime(folder / FASTA, (0, 0))  # a copy is the same file to the plan
    os.chdir(folder)
    options = ["--no-homology", "--workers", 1, "--validation", 0.2]
    return ["--input", FASTA, "--output", OUTPUT, *options]


def prepared(folder: Path) -> Any:
    """The files of a preparation that goes on."""
    command(prepare.main, *_prepare_arguments(folder))
    return {name: (folder / OUTPUT / name).read_bytes().hex() for name in _PREPARED}


def converted(folder: Path) -> Any:
    """From the FASTA file, whatever its ending, by way of LMDB and indexed data back to letters."""
    [path] = folder.glob(f"{FASTA}*")
    expected = plain.read_fasta(path)
    command(fasta_to_lmdb.main, "--input", path, "--output", folder / "new.lmdb")
    return {"found": _indexed(folder, folder / "new.lmdb"), "expected": expected}


def reported(folder: Path) -> Any:
    """The letters that a report reads, which are fewer kinds of FASTA."""
    [path] = folder.glob(f"{FASTA}*")
    return {
        "found": [protein.sequence for protein in read_proteins(path)],
        "expected": plain.read_fasta(path, mends=False),
    }


def from_lmdb(folder: Path) -> Any:
    """The letters of a database, in the order of its keys."""
    expected = plain.read_lmdb(folder / LMDB)
    return {"found": _indexed(folder, folder / LMDB), "expected": expected}


def from_lmdb_alone(folder: Path) -> Any:
    """The letters of a database that the plainest way of reading might not survive."""
    return _indexed(folder, folder / LMDB)


def clustered(folder: Path) -> Any:
    """The clusters of each protein."""
    command(cluster.main, "--input", folder / LMDB, "--table", folder / TABLE, "--output", folder / "x.clusters.npy")
    with ProteinsLmdb(folder / LMDB) as database:
        names = [record.protein for record in database]
    found = [sorted(names[n] for n in members) for members in _members(folder / "x.clusters.npy", len(names))]
    return {"found": sorted(found), "expected": plain.read_table(folder / TABLE, names)}


def _members(path: Path, number: int) -> list[list[int]]:
    [(members, sizes)] = Clusters(path, number).pieces()
    return [part.tolist() for part in np.split(members, np.cumsum(sizes)[:-1])]


def _indexed(folder: Path, database: Path) -> list[str]:
    command(lmdb_to_indexed.main, "--input", database, "--output", folder / "new")
    command(inspect_indexed.main, folder / "new", "--fasta", folder / "out.fasta")
    text = (folder / "out.fasta").read_text(encoding="utf-8")
    return ["".join(record.split("\n")[1:]) for record in text.split(">")[1:]]


def is_as_expected(valid: Valid, reading: Reading) -> str | None:
    """What was read is what the plainest way of reading finds in the same file."""
    found, expected = reading.found["found"], reading.found["expected"]
    return None if found == expected else f"read {str(found)[:200]} instead of {str(expected)[:200]}"


_LINES = (
    ">",
    ">\n>",
    "> \nACD",
    ">x\n",
    ">x\nAC DE*\n",
    ">x\nMKJ\n",
    ">a b\r\nACD\r\n",
    ">y\n-AC",
    ">\x1b[31m\nAC",
    ">" + "i" * 70_000,
)


def _tamper_fasta(folder: Path, chance: Random) -> None:
    path = folder / FASTA
    text = path.read_bytes()
    match chance.choice(("bytes", "line", "mark", "returns", "wide", "long", "nested")):
        case "bytes":
            damage.damage_bytes(path, chance)
        case "line":
            place = chance.choice([match.start() for match in re.finditer(b">", text)])
            path.write_bytes(text[:place] + chance.choice(_LINES).encode() + b"\n" + text[place:])
        case "mark":
            path.write_bytes(b"\xef\xbb\xbf" + text)
        case "returns":
            path.write_bytes(text.replace(b"\n", chance.choice((b"\r", b"\r\n", b"\n\n", b"\n\r"))))
        case "wide":
            path.write_bytes(text.decode().encode(chance.choice(("utf-16", "utf-16-le", "utf-32"))))
        case "long":
            path.write_bytes(text + b">long\n" + b"A" * chance.choice((100_000, 100_001, 5_000_000)))
        case "nested":
            path.write_bytes(gzip.compress(text))
    if chance.random() < 0.4:
        _compress(path, chance)


def _compress(path: Path, chance: Random) -> None:
    """Compresses it, and may damage the result or name it wrongly."""
    ending = chance.choice((".gz", ".zst"))
    data = path.read_bytes()
    data = gzip.compress(data) if ending == ".gz" else zstandard.ZstdCompressor().compress(data)
    data = damage.changed(data, chance) if chance.random() < 0.4 else data
    wrong = chance.choice(("", ".gz", ".zst"))
    path.with_name(path.name + (wrong if chance.random() < 0.2 else ending)).write_bytes(data)
    if len(list(path.parent.glob(f"{FASTA}*"))) > 1:
        path.unlink()


def _tamper_records(folder: Path, chance: Random) -> None:
    """Changes keys and values of a database, which stays one."""
    key = b"%d" % chance.randrange(40)
    with (
        lmdb.open(str(folder / LMDB), subdir=False, lock=False, map_size=1 << 26) as database,
        database.begin(write=True) as writing,
    ):
        value = bytes(writing.pop(key) or b"")
        match chance.choice(("value", "value", "key", "remove", "metadata")):
            case "value":
                writing.put(key, _other_value(value, chance) or b" ")
            case "key":
                key = chance.choice((b"x", b"01", b"-1", b"\xff", b"40", b"1e3", b" 1", chance.randbytes(4)))
                writing.put(key, value)
            case "metadata":
                writing.put(key, value)
                writing.put(b"num_examples", chance.choice((b"40", b"\x80\x04K(.", value, b"{}")))


def _other_value(value: bytes, chance: Random) -> bytes:
    match chance.choice(("bytes", "json", "part", "pickle")):
        case "bytes":
            return damage.changed(value, chance)
        case "json":
            return json.dumps(damage.changed_json(json.loads(value), chance)).encode("utf-8", "replace")
        case "part":
            part = chance.choice(([1, 2], [2, 2], [2, 3], [0, 1], ["2", 3], [None, 2], [1, 1], *damage.EVIL))
            return json.dumps({**json.loads(value), "part": part}).encode("utf-8", "replace")
    return damage.planted(chance)


def _tamper_database(folder: Path, chance: Random) -> None:
    """Cuts the file, or puts another in its place; LMDB itself does not survive pages that lie about their layout."""
    path = folder / LMDB
    data = path.read_bytes()
    others = (
        b"",
        chance.randbytes(len(data)),
        b"\0" * len(data),
        damage.planted(chance),
        data + chance.randbytes(5_000),
    )
    path.write_bytes(data[: chance.randrange(len(data))] if chance.random() < 0.5 else chance.choice(others))


def _tamper_table(folder: Path, chance: Random) -> None:
    path = folder / TABLE
    if chance.random() < 0.5:
        damage.damage_bytes(path, chance)
        return
    lines = path.read_bytes().split(b"\n")
    place = chance.randrange(len(lines))
    lines[place] = chance.choice(
        (b"", b"\t", b"c1\t", b"\tp1", b"c1\tp1\tp2", b"c9\tp1", b"c\xff\tp3", b"c" * 70_000 + b"\tp1")
    )
    path.write_bytes(b"\n".join(lines))


def _tamper_work(folder: Path, chance: Random) -> None:
    files = sorted(path for path in (folder / OUTPUT / ".work").rglob("*") if path.is_file())
    path = chance.choice(files)
    match chance.choice(("bytes", "bytes", "bytes", "empty", "plant", "misplace")):
        case "bytes":
            damage.damage_bytes(path, chance)
        case "empty":
            path.write_bytes(b"")
        case "plant":
            path.write_bytes(damage.planted(chance))
        case "misplace":
            damage.misplace(path, chance)


ATTACKS = (
    Attack("fasta", make, _tamper_fasta, (converted, reported), is_as_expected),
    Attack("lmdb-records", make, _tamper_records, (from_lmdb,), is_as_expected),
    Attack("lmdb-file", make, _tamper_database, (from_lmdb_alone,)),
    Attack("cluster-table", make, _tamper_table, (clustered,), is_as_expected),
    Attack("work-begun", make_begun, _tamper_work, (prepared,)),
)
