"""Guesses what was meant by a dataset that is not there: a prefix nearby, or the command that makes one."""

from pathlib import Path
from shlex import quote

_RULE = "a dataset is named by its prefix, without .bin or .idx"


def meant_by(prefix: str) -> str:
    """What to write or to run instead of a prefix without PREFIX.bin or PREFIX.idx."""
    path = Path(prefix)
    without_ending = path.with_suffix("")
    if path.suffix in (".bin", ".idx"):
        return f"{_RULE}: write {without_ending}"
    if path.suffix == ".lmdb" or (path / "data.mdb").is_file():
        command = f"python -m data_tools.lmdb_to_indexed --input {quote(prefix)} --output {quote(str(without_ending))}"
        return f"{_RULE}; {command} makes one of this LMDB"
    if path.is_dir():
        inside = sorted(str(index.with_suffix("")) for index in path.glob("*.idx"))
        return f"{prefix} is a folder, in which lies {' and '.join(inside) or 'no dataset'}; {_RULE}"
    if path.is_file():
        command = f"python -m data_tools.prepare --input {quote(prefix)} --output {quote(_stem(path))}"
        return f"{_RULE}; {command} makes datasets of proteins, as {_stem(path)}/train and {_stem(path)}/validation"
    return f"{_RULE}; python -m data_tools.prepare makes one of proteins"


def _stem(path: Path) -> str:
    """The path without its endings, or with another name if it has none."""
    stem = path.name.partition(".")[0]
    return str(path.with_name(stem if stem and stem != path.name else f"{path.name}_prepared"))
