"""The inputs of a command, which are files, LMDB databases and folders of them; and the proteins in them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from d2plm_megatron.compression import ENDINGS

from ..preparation.cleaning import Tally, clean_records
from ..preparation.raw_blocks import blocks_of
from .lmdb_values import Layout
from .proteins_lmdb import data_file

_FASTA = (".fasta", ".fa", ".faa", ".fas", ".fsa", ".mpfa", ".pep", ".a3m", ".a2m", ".afa")
_KNOWN = (*_FASTA, ".sto", ".stk", ".csv", ".tsv", ".tab", ".lmdb")


def expand(inputs: Sequence[Path]) -> list[Path]:
    """The inputs. Each folder that is no database is replaced by its files of known endings, sorted by name.

    Raises ValueError for a folder without such a file, and for an input that is named twice, by whatever path.
    Raises FileNotFoundError for one that is not there.
    """
    found = [path for given in inputs for path in (_inside(given) if _is_folder(given) else [given])]
    stats = [data_file(path).stat() for path in found]
    first: dict[tuple[int, int], Path] = {}
    for path, stat in zip(found, stats, strict=True):
        other = first.setdefault((stat.st_dev, stat.st_ino), path)
        if other is not path:
            raise ValueError(f"{path}: an --input is named twice (as {other})")
    return found


def count_records(inputs: Sequence[Path], layout: Layout, most: int) -> int:
    """How many records the inputs hold; the count ends when it reaches `most`. Raises what blocks_of raises."""
    counted = 0
    for block in (block for path in inputs for block in blocks_of(path, layout)):
        counted += block.num_records
        if counted >= most:
            break
    return counted


def read_proteins(
    path: Path, tally: Tally, layout: Layout | None = None, gaps: str = "skip"
) -> Iterator[tuple[str, str]]:
    """Yields (id, clean sequence) of the records of an input that are proteins, and counts in `tally`.

    Raises what blocks_of raises and, at the end, what Tally.check raises.
    """
    records = (record for block in blocks_of(path, layout or Layout()) for record in block.records())
    yield from clean_records(((header.split(maxsplit=1)[0], letters) for header, letters in records), tally, gaps=gaps)
    tally.check(path)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not (path / "data.mdb").exists()


def _inside(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if _ending(path) in _KNOWN and not path.name.startswith("."))
    if not found:
        raise ValueError(f"{folder}: a folder with no LMDB in it, and no file named {', '.join(_KNOWN)}")
    return found


def _ending(path: Path) -> str:
    """The ending of a file name in lower case; that of a compression does not count."""
    return Path(path.stem if path.suffix.lower() in ENDINGS else path.name).suffix.lower()
