"""How fast an LMDB of proteins becomes the files of training, against what else does it, in one run on one core.

    python -m benchmarks.conversion --input uniref90.fasta.gz

scan                 reads every value and looks at nothing
scan + JSON          parses each value by json.loads as well
this package         data_tools.lmdb_to_indexed, to .bin and .idx
Megatron's builder   json.loads, a numpy table, IndexedDatasetBuilder.add_item, .bin and .idx
EsmTokenizer         json.loads and Hugging Face's tokenizer, on a sample of the proteins; writes nothing

Each is run several times, and the fastest time counts. The last two are what one would do without the third.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import lmdb
import numpy as np
import torch
import typer
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
from rich.console import Console
from rich.table import Table

from benchmarks.loader_baselines import esm_tokenizer
from benchmarks.machine import machine
from d2plm_megatron.console import run
from d2plm_megatron.proteins.alphabet import encode
from data_tools import fasta_to_lmdb, lmdb_to_indexed
from data_tools.formats.proteins_lmdb import ProteinsLmdb
from data_tools.preparation.cleaning import Tally
from data_tools.preparation.raw_blocks import is_lmdb


def main(
    source: Annotated[Path, typer.Option("--input", help="FASTA or LMDB of proteins.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often each is run.")] = 5,
    sample: Annotated[int, typer.Option(min=1, help="Proteins for EsmTokenizer, which is slow.")] = 300,
) -> None:
    """Measures conversion against reading, parsing, Megatron's own builder and Hugging Face's tokenizer."""
    with tempfile.TemporaryDirectory() as name, esm_tokenizer() as tokenizer:
        folder = Path(name)
        database = source if is_lmdb(source) else folder / "proteins.lmdb"
        if database != source:
            fasta_to_lmdb.convert([source], database, Tally())
        with ProteinsLmdb(database) as proteins:
            lengths = [len(record.sequence) for record in proteins]
        baselines: dict[str, tuple[Callable[[], object], int]] = {
            "scan": (lambda: _scan(database), sum(lengths)),
            "scan + JSON": (lambda: _parse(database), sum(lengths)),
            "this package": (lambda: lmdb_to_indexed.convert(database, folder / "ours"), sum(lengths)),
            "Megatron's builder": (lambda: _build(database, folder / "theirs"), sum(lengths)),
            "EsmTokenizer": (lambda: _tokenize(database, tokenizer, sample), sum(lengths[:sample])),
        }
        times = {name: [_seconds(work) for _ in range(rounds)] for name, (work, _) in baselines.items()}
        if (folder / "ours.bin").read_bytes() != (folder / "theirs.bin").read_bytes():
            raise ValueError("this package and Megatron's builder do not write the same residues")
    _print({name: num / min(times[name]) for name, (_, num) in baselines.items()}, len(lengths), sum(lengths))


def _open(database: Path) -> lmdb.Environment:
    return lmdb.open(str(database), subdir=database.is_dir(), readonly=True, lock=False)


def _scan(database: Path) -> int:
    with _open(database) as env, env.begin() as transaction:
        return sum(len(value) for _, value in transaction.cursor())


def _parse(database: Path) -> int:
    with _open(database) as env, env.begin() as transaction:
        return sum(len(json.loads(value)["sequence"]) for _, value in transaction.cursor())


def _build(database: Path, prefix: Path) -> None:
    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=np.uint8)
    with _open(database) as env, env.begin() as transaction:
        for number in range(env.stat()["entries"]):
            sequence = json.loads(transaction.get(str(number).encode(), b""))["sequence"]
            builder.add_item(torch.from_numpy(encode(sequence)))
            builder.end_document()
    builder.finalize(f"{prefix}.idx")


def _tokenize(database: Path, tokenizer: Any, sample: int) -> int:
    with _open(database) as env, env.begin() as transaction:
        keys = (str(number).encode() for number in range(min(sample, env.stat()["entries"])))
        sequences = (json.loads(transaction.get(key, b""))["sequence"] for key in keys)
        return sum(len(tokenizer(sequence)["input_ids"]) for sequence in sequences)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _print(rates: dict[str, float], num_proteins: int, num_residues: int) -> None:
    table = Table(title=f"{num_proteins:,} proteins, {num_residues:,} residues, on one core")
    table.add_column("")
    for column in ("million residues/s", "this package is faster by"):
        table.add_column(column, justify="right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate / 1e6:,.2f}", f"{rates['this package'] / rate:,.2f}")
    Console().print(table)
    print(machine("lmdb", "numpy", "megatron-core", "transformers"))


if __name__ == "__main__":
    run(main)
