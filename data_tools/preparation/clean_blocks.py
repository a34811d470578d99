"""Clean blocks: what becomes of a raw block. Each is written to a file of its own, so that a kill costs one block.

The file is a .npz of arrays, about the n proteins that passed the cleaning policy and the rules:

    ids        uint8 [residues of all]    lengths    int32 [n]         names   their ids, UTF-8, a line each
    digests    uint8 [n, 16]              held_out   uint8 [n], sides  records int64 [n], numbers in the input, from 1
    rejected   lines for rejected.tsv     tally      JSON, see cleaning.Tally     origin  which records of which input
"""

import json
import zlib
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from d2plm_megatron.files import atomic
from d2plm_megatron.proteins.alphabet import ID_OF_BYTE

from .cleaning import NotAProtein, Tally, check_gaps, clean_records
from .hold_out import HoldOut
from .raw_blocks import RawBlock

DIGEST_BYTES = 16
_ARRAYS = ("ids", "lengths", "names", "digests", "held_out", "records", "rejected", "tally")
_DAMAGE = (ValueError, OSError, EOFError, KeyError, IndexError, RuntimeError, MemoryError, BadZipFile, zlib.error)


@dataclass(frozen=True)
class Rules:
    """Which proteins stay, beyond the cleaning policy, and which are held out. All blocks have the same rules.

    Attributes:
        min_length: proteins of fewer residues are rejected.
        max_length: proteins of more residues are rejected; None is no limit.
        gaps: one of cleaning.GAPS.
        hold_out: how the proteins that are held out are chosen.
    """

    min_length: int
    max_length: int | None
    gaps: str
    hold_out: HoldOut

    def __post_init__(self) -> None:
        check_gaps(self.gaps)


@dataclass(frozen=True)
class CleanTask:
    """A raw block, the file for the clean block that is made of it, and the rules."""

    raw: RawBlock
    target: Path
    rules: Rules


@dataclass(frozen=True)
class Cleaned:
    """What came of a task.

    Attributes:
        source: the input that the raw block is part of.
        num_bytes: about how much of the input the raw block takes.
        tally: what happened to its records.
        num_proteins: how many proteins are in the clean block.
    """

    source: Path
    num_bytes: int
    tally: Tally
    num_proteins: int


def clean_block(task: CleanTask) -> Cleaned:
    """Writes the clean block of a raw one, unless it is there already. Raises what reading the raw block raises."""
    if not _is_done(task):
        arrays = _clean(task.raw, task.rules)
        with atomic(task.target) as (temporary,), temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    tally, lengths = read_block(task.target, "tally", "lengths")
    fields = json.loads(tally.tobytes())
    own = Tally(**fields | {name: Counter(fields[name]) for name in ("notes", "skipped")})
    return Cleaned(task.raw.path, task.raw.num_bytes, own, len(lengths))


def read_block(path: Path, *names: str) -> list[np.ndarray]:
    """Arrays of a clean block, by name. Raises ValueError naming it if it is damaged or gone."""
    try:
        with np.load(path) as arrays:
            return [arrays[name] for name in names]
    except _DAMAGE:
        raise ValueError(f"{path}: damaged; remove it, and the same command makes it again") from None


def block_names(path: Path) -> list[str]:
    """The ids of the proteins of a block. Raises what read_block raises."""
    [text] = read_block(path, "names")
    return text.tobytes().decode().split("\n") if text.size else []


def rejected_line(source: str, record: int, name: str, reason: str, detail: str) -> str:
    """A line of rejected.tsv: the input, the number of the record in it from 1, its id, the reason, and details."""
    return f"{source}\t{record}\t{name}\t{reason}\t{detail}\n"


def _is_done(task: CleanTask) -> bool:
    """Whether the clean block is there and whole. Every array is read, so that zip compares its checksum."""
    try:
        origin, *_ = read_block(task.target, "origin", *_ARRAYS)
    except ValueError:
        return False
    return origin.tobytes() == _origin(task.raw).tobytes()


def _origin(raw: RawBlock) -> np.ndarray:
    return _bytes(json.dumps([str(raw.path), raw.first_record, raw.num_records]))


def _clean(raw: RawBlock, rules: Rules) -> dict[str, np.ndarray]:
    tally, rejected = Tally(), list[str]()

    def reject(header: str, error: NotAProtein) -> None:
        number = raw.first_record + tally.read - 1
        rejected.append(rejected_line(str(raw.path), number, header.split()[0], error.reason, str(error)))

    def check(residues: str) -> None:
        _check_length(len(residues), rules)

    clean = clean_records(raw.records(), tally, reject, check, rules.gaps)
    kept = [(header, residues, raw.first_record + tally.read - 1) for header, residues in clean]
    return {
        **_arrays(kept, rules.hold_out),
        "rejected": _bytes("".join(rejected)),
        "tally": _bytes(json.dumps(vars(tally))),
        "origin": _origin(raw),
    }


def _check_length(length: int, rules: Rules) -> None:
    if length < rules.min_length:
        raise NotAProtein("too short", f"{length} residues, fewer than {rules.min_length}")
    if rules.max_length and length > rules.max_length:
        raise NotAProtein("too long", f"{length:,} residues, more than {rules.max_length:,}")


def _arrays(kept: list[tuple[str, str, int]], hold_out: HoldOut) -> dict[str, np.ndarray]:
    sequences = [sequence.encode() for _, sequence, _ in kept]
    digests = b"".join(blake2b(sequence, digest_size=DIGEST_BYTES).digest() for sequence in sequences)
    return {
        "ids": ID_OF_BYTE[np.frombuffer(b"".join(sequences), dtype=np.uint8)],
        "lengths": np.array([len(sequence) for sequence in sequences], dtype=np.int32),
        "names": _bytes("\n".join(header.split()[0] for header, _, _ in kept)),
        "digests": np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES),
        "held_out": np.array([hold_out.side(header, sequence) for header, sequence, _ in kept], dtype=np.uint8),
        "records": np.array([record for _, _, record in kept], dtype=np.int64),
    }


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)
