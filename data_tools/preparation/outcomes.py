"""The outcome of each protein that passed cleaning: a byte per protein in a file, so that memory does not grow.

The outcomes are followed by their BLAKE2b, 16 bytes. Exact duplicates are found by their digests. These are spread over
files by their first bits, so that equal ones are in the same file and each file fits in memory. Of equal sequences the
first one stays. A table of clusters is joined to the ids in the same way.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np

from d2plm_megatron.files import atomic

from ..formats.cluster_table import check_one_cluster_each, key, pairs
from .clean_blocks import block_names, read_block
from .hold_out import TEST, VALIDATION, HoldOut

DUPLICATE, HOMOLOG, HOMOLOG_OF_TEST = 2, 3, 5
"""What becomes of proteins that are on no side: copies, and those that resemble a validation or test protein."""
_NUM_OUTCOMES = 6

_DIGEST = np.dtype([("key", ">u8"), ("rest", ">u8"), ("number", "<i8")])
_MEMBER = np.dtype([("key", ">u8"), ("cluster", ">u8"), ("side", "u1")])
_ROWS_PER_FILE = 2_000_000
_MOST_FILES = 512
_WINDOW = 1 << 26
_LINES_AT_ONCE = 20_000
_SEAL_BYTES = 16


def write_outcomes(path: Path, blocks: Sequence[Path], sizes: Sequence[int], hold_out: HoldOut) -> None:
    """Writes for each protein of the clean blocks its side, or that it is a DUPLICATE.

    `sizes` says how many proteins each block has. Raises ValueError naming a protein that is in no cluster of the table
    or in two, and what reading the table raises.
    """
    total = sum(sizes)
    with atomic(path) as (temporary,):
        with temporary.open("wb") as file:
            for block in blocks:
                [held_out] = read_block(block, "held_out")
                file.write(held_out.astype(np.uint8).tobytes())
        if hold_out.clusters:
            for side, numbers in _held_out_members(path.parent, blocks, sizes, hold_out):
                _set(temporary, numbers, side)
        for numbers in _duplicates(path.parent, blocks, total):
            _set(temporary, numbers, DUPLICATE)
        _seal(temporary)


def read_outcomes(path: Path, start: int, count: int) -> np.ndarray:
    """The outcomes of `count` proteins from number `start` on, uint8."""
    return np.fromfile(path, dtype=np.uint8, count=count, offset=start)


def count_outcomes(path: Path) -> np.ndarray:
    """How many proteins have which outcome, int64 [6]."""
    counts = np.zeros(_NUM_OUTCOMES, dtype=np.int64)
    for window in _windows(path, path.stat().st_size - _SEAL_BYTES):
        counts += np.bincount(np.frombuffer(window, dtype=np.uint8), minlength=_NUM_OUTCOMES)
    return counts


def are_outcomes(path: Path, total: int) -> bool:
    """Whether a file holds the outcomes of `total` proteins, unchanged since they were written."""
    try:
        if path.stat().st_size != total + _SEAL_BYTES:
            return False
        with path.open("rb") as file:
            file.seek(total)
            return file.read() == _digest(path, total)
    except OSError:
        return False


def mark_homologs(path: Path, before: Path, numbers: Iterable[np.ndarray], outcome: int = HOMOLOG) -> None:
    """Writes the outcomes in the file `before` to `path`, with this one for the proteins of these numbers."""
    with atomic(path) as (temporary,):
        with temporary.open("wb") as target:
            target.writelines(_windows(before, before.stat().st_size - _SEAL_BYTES))
        for homologs in numbers:
            _set(temporary, homologs, outcome)
        _seal(temporary)


def _windows(path: Path, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a file, in windows."""
    with path.open("rb") as file:
        for start in range(0, size, _WINDOW):
            yield file.read(min(_WINDOW, size - start))


def _digest(path: Path, size: int) -> bytes:
    digest = blake2b(digest_size=_SEAL_BYTES)
    for window in _windows(path, size):
        digest.update(window)
    return digest.digest()


def _seal(path: Path) -> None:
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(digest)


def _set(path: Path, numbers: np.ndarray, outcome: int) -> None:
    """Sets the outcomes of these proteins. It maps one window at a time, since mapped pages count as memory."""
    size = path.stat().st_size
    numbers = np.sort(numbers)
    for start in range(0, size, _WINDOW):
        stop = min(start + _WINDOW, size)
        here = numbers[np.searchsorted(numbers, start) : np.searchsorted(numbers, stop)]
        if here.size:
            outcomes = np.memmap(path, dtype=np.uint8, mode="r+", offset=start, shape=(stop - start,))
            outcomes[here - start] = outcome


def _duplicates(folder: Path, blocks: Sequence[Path], total: int) -> Iterator[np.ndarray]:
    """Yields the numbers of proteins whose sequence came before, group by group."""

    def rows() -> Iterator[np.ndarray]:
        start = 0
        for block in blocks:
            [digests] = read_block(block, "digests")
            halves = digests.view(">u8").reshape(-1, 2)
            table = np.empty(len(halves), dtype=_DIGEST)
            table["key"], table["rest"] = halves[:, 0], halves[:, 1]
            table["number"] = np.arange(start, start + len(halves))
            start += len(halves)
            yield table

    for (table,) in _grouped(folder, total, [(_DIGEST, rows)]):
        table = table[np.lexsort((table["number"], table["rest"], table["key"]))]
        same = (table["key"][1:] == table["key"][:-1]) & (table["rest"][1:] == table["rest"][:-1])
        yield table["number"][1:][same]


def _held_out_members(
    folder: Path, blocks: Sequence[Path], sizes: Sequence[int], hold_out: HoldOut
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields sides and the numbers of proteins whose clusters the table puts there, group by group."""
    clusters = hold_out.clusters
    assert clusters

    def proteins() -> Iterator[np.ndarray]:
        start = 0
        for block in blocks:
            names = block_names(block)
            table = np.zeros(len(names), dtype=_DIGEST)
            table["key"] = np.array([key(name) for name in names], dtype=np.uint64)
            table["number"] = np.arange(start, start + len(names))
            start += len(names)
            yield table

    def members() -> Iterator[np.ndarray]:
        return _read_clusters(clusters, hold_out)

    for ours, known in _grouped(folder, sum(sizes), [(_DIGEST, proteins), (_MEMBER, members)]):
        known = known[np.argsort(known["key"], kind="stable")]
        check_one_cluster_each(clusters, known["key"], known["cluster"])
        places = np.searchsorted(known["key"], ours["key"])
        found = np.append(known["key"], 0)[places] == ours["key"] if len(known) else np.zeros(len(ours), dtype=bool)
        if not found.all():
            name = _name_of(int(ours["number"][~found].min()), blocks, sizes)
            raise ValueError(f"{clusters}: protein {name} is in no cluster; make the table from all of the input")
        sides = known["side"][places]
        yield from ((side, ours["number"][sides == side]) for side in (VALIDATION, TEST))


def _grouped(
    folder: Path, total: int, sources: list[tuple[np.dtype, Callable[[], Iterator[np.ndarray]]]]
) -> Iterator[list[np.ndarray]]:
    """Yields the rows of all sources in groups, by way of files. Rows with equal keys are in the same group."""
    num_groups = min(_MOST_FILES, -(-total // _ROWS_PER_FILE) or 1)
    paths = [[folder / f"rows-{place}-{group}" for group in range(num_groups)] for place in range(len(sources))]
    try:
        for own, (_, rows) in zip(paths, sources, strict=True):
            with ExitStack() as stack:
                files = [stack.enter_context(path.open("wb")) for path in own]
                for table in rows():
                    groups = (table["key"] >> np.uint64(32)).astype(np.int64) * num_groups >> 32
                    for group in np.unique(groups):
                        files[group].write(table[groups == group].tobytes())
        for group in range(num_groups):
            yield [np.fromfile(own[group], dtype=dtype) for own, (dtype, _) in zip(paths, sources, strict=True)]
    finally:
        for path in (path for own in paths for path in own):
            path.unlink(missing_ok=True)


def _read_clusters(path: Path, hold_out: HoldOut) -> Iterator[np.ndarray]:
    rows = pairs(path)
    while some := list(islice(rows, _LINES_AT_ONCE)):
        members = [(key(member), key(cluster), hold_out.side_of(cluster)) for cluster, member in some]
        yield np.array(members, dtype=_MEMBER)


def _name_of(number: int, blocks: Sequence[Path], sizes: Sequence[int]) -> str:
    for block, size in zip(blocks, sizes, strict=True):
        if number < size:
            return block_names(block)[number]
        number -= size
    raise AssertionError("no protein has this number")
