"""Files that appear under their final name only when they are whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(*finals: Path) -> Iterator[tuple[Path, ...]]:
    """Temporary paths beside `finals`, renamed to them when the block ends well and removed when it raises.

    Works for files and for directories (the block creates them). The renames follow one another, last path last, so
    a reader that waits for the last one finds all of them. A directory replaces an older one of the same name.
    """
    temporary = tuple(final.with_name(f".{final.name}.{os.getpid()}.incomplete") for final in finals)
    for final in finals:
        final.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        for source, final in zip(temporary, finals, strict=True):
            if final.is_dir() and source.is_dir():
                shutil.rmtree(final)
            source.replace(final)
    except OSError as error:
        error.filename = error.filename or str(finals[0])  # a full disk is reported without saying which file
        raise
    finally:
        for source in temporary:
            if source.is_dir():
                shutil.rmtree(source)
            source.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, UTF-8."""
    with atomic(path) as (temporary,):
        temporary.write_text(text, encoding="utf-8")


def flush_to_disk(path: Path) -> None:
    """Returns once a file, or the list of names that a folder is, would outlive a loss of power."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def remove(path: Path) -> None:
    """Removes a file, a folder with all in it, or a link without what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
