"""Files that appear under their final name only when they are whole, and are on the disk by then."""

import errno
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
        publish(zip(temporary, finals, strict=True))
    except OSError as error:
        error.filename = error.filename or str(finals[0])  # a full disk is reported without saying which file
        raise
    finally:
        for source in temporary:
            if source.is_dir():
                shutil.rmtree(source)
            source.unlink(missing_ok=True)


def publish(renames: Iterable[tuple[Path, Path]]) -> None:
    """Renames files and directories, (from, to), in order, so that no crash of the machine leaves an empty one.

    What they hold is on the disk before the first rename, and the names are before this returns.
    """
    renames = list(renames)
    for source, _ in renames:
        sync(source)
    for source, final in renames:
        if final.is_dir() and source.is_dir():
            shutil.rmtree(final)
        source.replace(final)
    for folder in {final.parent for _, final in renames}:
        _sync_one(folder)


def sync(path: Path) -> None:
    """Waits until a file, or a directory with all that is in it, is on the disk and not in memory alone."""
    for inner in path.rglob("*") if path.is_dir() else ():
        _sync_one(inner)
    _sync_one(path)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, UTF-8."""
    with atomic(path) as (temporary,):
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically. A number that is not finite, which JSON has none of, is null beside KEY_reason."""
    write_text(path, json.dumps(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        odd = {key: inner for key, inner in value.items() if isinstance(inner, float) and not math.isfinite(inner)}
        reasons = {f"{key}_reason": "not a number" if math.isnan(inner) else "infinite" for key, inner in odd.items()}
        return {key: _finite(inner) for key, inner in value.items()} | reasons
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_ordinary(path: Path) -> None:
    """Raises ValueError if it is there and no file: a pipe would be waited for, and a device read without end."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is no ordinary file")


def remove(path: Path) -> None:
    """Removes a file, a folder with all in it, or a link without what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_file(text: str | Path) -> bool:
    """Whether this names a file. What is too long for a name, as letters of a protein are, does not."""
    try:
        return Path(text).is_file()
    except OSError:
        return False


def check_outputs(outputs: Sequence[Path], inputs: Iterable[Path] = (), overwrite: bool = True) -> None:
    """Raises ValueError, before any work, when these files cannot be written or would replace what is to be kept.

    That is, naming the output: one that is a directory or a device, lies below a file, or is an input or another output
    by whatever path (`d/../a.fasta`, a link); and without `overwrite` one that is there.
    """
    others = list(inputs)
    for output in outputs:
        if output.exists() and not output.is_file():
            what = "is a directory" if output.is_dir() else "is no ordinary file"
            raise ValueError(f"{output}: {what}; name a file to write")
        above = next(folder for folder in output.absolute().parents if os.path.lexists(folder))
        if not above.is_dir():
            what = "is a file" if above.exists() else "is a link that leads nowhere"
            raise ValueError(f"{output}: {above} {what}, so that nothing can be below it; name another file")
        same = next((other for other in others if _are_same(output, other)), None)
        if same is not None:
            also = "is" if str(same) == str(output) else f"is {same}, which is"
            raise ValueError(f"{output}: {also} read or written by this command, too; name another file")
        if output.exists() and not overwrite:
            raise ValueError(f"{output}: is there already; name another file, or give --overwrite to replace it")
        others.append(output)


def stem_of(path: Path) -> str:
    """The name of a file without its last suffix, and without that of compression: a.b of a.b.fasta.gz."""
    inner = path.with_suffix("") if path.suffix in (".gz", ".zst", ".bz2", ".xz") else path
    return inner.stem


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe is not waited for
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync directories
            raise
    finally:
        os.close(descriptor)


def _are_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one is not there yet
        return os.path.realpath(one) == os.path.realpath(other)
