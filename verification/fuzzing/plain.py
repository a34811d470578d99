"""What inputs hold, read in the plainest way that there is: what the project's own readers are compared with."""

import gzip
import json
import re
from pathlib import Path

import lmdb
import zstandard

from data_tools.preparation.cleaning import LONGEST_RESIDUES

_NO_RESIDUE = re.compile("[^LAGVSERTIDPKQNFYMHWCXBUZO]")


def read_fasta(path: Path, mends: bool = True) -> list[str] | None:
    """The proteins of a FASTA file, without or with the mends of cleaning; None where this cannot read it."""
    data = path.read_bytes()
    try:
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, EOFError, ValueError, zstandard.ZstdError, gzip.zlib.error):  # type: ignore[attr-defined]
        return None
    records = ["".join(record.split("\n")[1:]) for record in f"\n{text}".split("\n>")[1:]]
    letters = ["".join(record.split()).upper().removesuffix("*") for record in records]
    letters = [one.replace("J", "X") for one in letters if len(one) <= LONGEST_RESIDUES] if mends else letters
    return [one for one in letters if one and not _NO_RESIDUE.search(one)]


def read_lmdb(path: Path) -> list[str] | None:
    """The sequences of a database in the order of their numbers; None where this cannot read them."""
    try:
        with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as database, database.begin() as reading:
            items = sorted((int(key), value) for key, value in reading.cursor() if key.isdigit())
        return [json.loads(value)["sequence"] for _, value in items]
    except (lmdb.Error, ValueError, TypeError, KeyError, RecursionError):
        return None


def read_table(path: Path, names: list[str]) -> list[list[str]] | None:
    """The clusters of a table that have one of these proteins, each with its own among them."""
    clusters: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        head, _, name = line.strip().partition("\t")
        if name in names:
            clusters.setdefault(head, set()).add(name)
    return sorted(sorted(members) for members in clusters.values())
