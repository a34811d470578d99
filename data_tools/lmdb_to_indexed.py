"""LMDB to Megatron's indexed dataset: PREFIX.bin and PREFIX.idx, one byte per residue.

A large database can be converted by several processes or machines, a shard each: `--shard 3/8` writes PREFIX-3-of-8.bin
and .idx. `python -m data_tools.merge` puts the shards together to the same bytes as one pass.
"""

import re
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich import get_console
from rich.table import Table

from d2plm_megatron.console import one_line, progress, run
from d2plm_megatron.data.indexed import paths_of
from d2plm_megatron.data.indexed_writer import IndexedWriter, files_of
from d2plm_megatron.files import check_outputs
from d2plm_megatron.proteins.alphabet import ID_OF_BYTE, NOT_A_RESIDUE, encode

from .formats.input_options import Field, Keys, Values
from .formats.lmdb_values import Layout
from .formats.proteins_lmdb import ProteinsLmdb, data_file

MOST_SHARDS = 100_000
_ID_OF_BYTE = ID_OF_BYTE.tobytes()


class Shard(NamedTuple):
    """Shard `number` of `total`, counted from 1."""

    number: int = 1
    total: int = 1


def main(
    database: Annotated[
        Path, typer.Option("--input", help="LMDB database to read, a file or a directory, as of fasta_to_lmdb.")
    ],
    prefix: Annotated[
        Path, typer.Option("--output", help="Prefix of the files to write, PREFIX.bin and PREFIX.idx; replaced.")
    ],
    values: Values = "json",
    field: Field = "sequence",
    keys: Keys = "numbers",
    shard: Annotated[str, typer.Option(help="Which shard of how many to convert, such as 3/8; see merge.")] = "1/1",
) -> None:
    """Converts a cleaned LMDB database of proteins to the files that training reads; prints counts and the rate."""
    part, layout = parse_shard(shard), Layout(values, field, keys)
    prefix = shard_prefix(prefix, part)
    check_outputs(files_of(prefix), [data_file(database)])
    with ProteinsLmdb(database, layout) as proteins:
        left_out = proteins.left_out()
    started = time.perf_counter()
    num_proteins, num_residues = convert(database, prefix, layout, part)
    seconds = time.perf_counter() - started
    table = Table("proteins", "residues", "seconds", "residues/s", title=" ".join(map(str, paths_of(prefix))))
    table.add_row(f"{num_proteins:,}", f"{num_residues:,}", f"{seconds:.2f}", f"{num_residues / seconds:,.0f}")
    get_console().print(table)
    if left_out:
        print(one_line(left_out))


def convert(database: Path, prefix: Path, layout: Layout | None = None, shard: Shard | None = None) -> tuple[int, int]:
    """Writes PREFIX.bin and PREFIX.idx from a database of clean sequences; returns how many proteins and residues.

    Raises what ProteinsLmdb raises, and ValueError naming the key of an empty sequence, or the key, letter and
    position (from 1) of the first letter that is no upper-case residue.
    """
    shard = shard or Shard()
    with ProteinsLmdb(database, layout) as proteins, IndexedWriter(prefix) as writer:
        start, stop = (_boundary(proteins, number, shard.total) for number in (shard.number - 1, shard.number))
        with progress("converting", total=stop - start, unit="records") as advance:
            for sequences, later in proteins.sequences(start, stop):
                ids = b"".join(sequences).translate(_ID_OF_BYTE)
                lengths = np.fromiter(map(len, sequences), dtype=np.int32, count=len(sequences))
                if NOT_A_RESIDUE in ids or not lengths.all():
                    ids, lengths = _encode_one_by_one(proteins, start, start + len(sequences))
                writer.add_block(ids, lengths, None if later is None else ~np.array(later))
                advance(len(sequences))
                start += len(sequences)
    return writer.num_proteins, writer.num_residues


def parse_shard(text: str) -> Shard:
    """Reads "3/8". Raises ValueError for anything but a number from 1 to n, a stroke, and n."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= MOST_SHARDS:
        raise ValueError(f"--shard {text}: expected i/n with i from 1 to n, such as 3/8, and n up to {MOST_SHARDS:,}")
    return Shard(int(found[1]), int(found[2]))


def shard_prefix(prefix: Path, shard: Shard) -> Path:
    """The prefix of a shard's files, such as PREFIX-3-of-8. A single shard has PREFIX itself."""
    return prefix if shard.total == 1 else prefix.with_name(f"{prefix.name}-{shard.number}-of-{shard.total}")


def _boundary(proteins: ProteinsLmdb, number: int, total: int) -> int:
    """The record with which shard `number`, counted from 0, begins. It is never a later chunk of a protein."""
    first = len(proteins) * number // total
    while 0 < first < len(proteins) and not proteins.begins_protein(first):
        first += 1
    return first


def _encode_one_by_one(proteins: ProteinsLmdb, start: int, stop: int) -> tuple[bytes, np.ndarray]:
    """The ids and lengths of records, each of which is parsed in full, since JSON may spell a letter by its number."""
    parts = []
    for record in proteins.records(start, stop):
        try:
            parts.append(encode(record.sequence))
            if not record.sequence:
                raise ValueError("an empty sequence")
        except ValueError as error:
            raise ValueError(f"{proteins.path}, key {record.key!r}: {error}; clean it with fasta_to_lmdb") from None
    return b"".join(part.tobytes() for part in parts), np.array([part.size for part in parts], dtype=np.int32)


if __name__ == "__main__":
    run(main)
