"""Records to prepare, the words of a command that prepares them, and what is in the folder that comes of it."""

import random
from pathlib import Path

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from data_tools.formats.lmdb_values import Record
from data_tools.formats.proteins_lmdb import ProteinsLmdb
from data_tools.prepare import main


def random_protein(rng: random.Random, length: int = 60) -> str:
    return "".join(rng.choices(CANONICAL_LETTERS, k=length))


def write_records(path: Path, records: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records))
    return path


def random_records(num_proteins: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    return [(f"p{number}", random_protein(rng, rng.randint(20, 90))) for number in range(num_proteins)]


def arguments(source: Path, output: Path, *more: object) -> tuple[object, ...]:
    return main, "--input", source, "--output", output, "--workers", 1, "--no-homology", "--validation", 0.2, *more


def side(folder: Path, name: str) -> list[Record]:
    with ProteinsLmdb(folder / f"{name}.lmdb") as proteins:
        return list(proteins)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rejected(folder: Path) -> dict[str, tuple[str, str]]:
    lines = (folder / "rejected.tsv").read_text().splitlines()[1:]
    return {name: (record, reason) for _, record, name, reason, _ in (line.split("\t") for line in lines)}
