"""Whether files are what was written: sizes and checksums of files, and JSON that carries a checksum of its own."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from d2plm_megatron.files import write_text

Files = dict[str, dict[str, Any]]
"""By name: "bytes", and "blake2b" in hexadecimal."""

CHECKSUM = "checksum"
"""The key of a JSON object's own checksum: the BLAKE2b of all else in it, in hexadecimal."""

LARGEST_JSON_BYTES = 64 << 20
"""No file of ours comes near it; a larger one is refused before it takes the memory."""


class Damaged(ValueError):
    """Something on disk is not what was written, so that what was written before it is worth a try."""


def describe(paths: Iterable[Path]) -> Files:
    """Reads the files and says what they are."""
    return {path.name: {"bytes": path.stat().st_size, "blake2b": _checksum(path)} for path in paths}


def sizes_differ(folder: Path, files: Files) -> list[str]:
    """What is wrong at first sight, in words: files that are missing or of another size."""
    wrong = []
    for name, expected in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif path.stat().st_size != expected["bytes"]:
            wrong.append(f"{name} has {path.stat().st_size:,} bytes, not {expected['bytes']:,}")
    return wrong


def contents_differ(folder: Path, files: Files, advance: Callable[[int], object] = lambda size: None) -> list[str]:
    """What is wrong when the files are read, in words; `advance` is called with the bytes of each."""
    wrong = []
    for name, expected in files.items():
        if _checksum(folder / name) != expected["blake2b"]:
            wrong.append(f"{name} has changed")
        advance(expected["bytes"])
    return wrong


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with their checksum, which `unsealed` compares and takes off again."""
    return {**values, CHECKSUM: _digest(values)}


def unsealed(text: bytes | str, name: str) -> dict[str, Any]:
    """The values of a sealed JSON object. Raises Damaged under the given name when it is not what was sealed."""
    values = parsed(text, name)
    if not isinstance(values, dict):
        raise Damaged(f"{name}: damaged: no JSON object")
    if values.pop(CHECKSUM, None) != _digest(values):
        raise Damaged(f"{name}: damaged: its checksum is not that of its contents")
    return values


def parsed(text: bytes | str, name: str) -> Any:
    """JSON as values. Raises Damaged under the given name when it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, of a number or of nesting without end
        raise Damaged(f"{name}: damaged: no JSON: {error}") from None


def read_bytes(path: Path) -> bytes:
    """A small file of a run. Raises Damaged naming it when it is missing, no file, or larger than any of ours."""
    if not path.is_file():
        raise Damaged(f"{path}: damaged: missing, or no file")
    if path.stat().st_size > LARGEST_JSON_BYTES:
        raise Damaged(f"{path}: damaged: {path.stat().st_size:,} bytes are too many")
    return path.read_bytes()


def read_sealed(path: Path, schema: Any) -> dict[str, Any]:
    """What `write_sealed` wrote. Raises Damaged naming the file when it is anything else, or misses the schema."""
    values = unsealed(read_bytes(path), str(path))
    if not fits(values, schema):
        raise Damaged(f"{path}: damaged: it lacks what belongs there, or holds values of another kind")
    return values


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Writes values as JSON with their checksum, atomically."""
    write_text(path, json.dumps(sealed(values), indent=1) + "\n")


def fits(value: Any, schema: Any) -> bool:
    """Whether a value from JSON has the form of a schema.

    A schema is a type; a tuple of schemas, one of which must fit; a list with the schema of all elements; a dict with
    the schemas of keys that must be there; or a dict whose only key is `str`, with the schema of all values. An int
    counts something and must not be negative.
    """
    if isinstance(schema, tuple):
        return any(fits(value, one) for one in schema)
    if isinstance(schema, list):
        return isinstance(value, list) and all(fits(item, schema[0]) for item in value)
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return False
        if str in schema:
            return all(fits(item, schema[str]) for item in value.values())
        return all(key in value and fits(value[key], of_key) for key, of_key in schema.items())
    if schema is None:
        return value is None
    return type(value) is schema and (schema is not int or value >= 0)


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
