"""Ways to damage a file: its bytes, its JSON, or what it is at all."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from d2plm_megatron.runs import integrity
from verification.fuzzing.cell import MARK

_SNIPPETS = (
    b"\0",
    b"\xff" * 8,
    b"\r",
    b"\r\n",
    b"\n",
    b"\xef\xbb\xbf",
    b'"',
    b"}",
    b"\x1b[31m",
    b"\xe2\x80\xae",
    b"9" * 400,
)
EVIL: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, float("nan"), float("inf"), 1e308),
    *("", "x", ".", "..", "/", "../../outside/precious.txt", "/dev/zero", "a\nb", "\x1b[31m", "\0", "\ud800", "é" * 40),
    *("${oc.env:HOME}", "[red]bold[/]", "step_00000002", "x" * 5_000, [], {}, [[]], [None], {"": None}),
)
"""Values that a JSON file of ours should not hold, wherever they stand."""


class _Payload:
    """What runs when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


_PAYLOADS = (
    _Payload(os.system, f"touch {MARK}"),
    _Payload(exec, f"open('{MARK}', 'w')"),
    _Payload(eval, f"__import__('os').system('touch {MARK}')"),
    _Payload(os.putenv, MARK, "1"),
)


def damage_bytes(path: Path, chance: Random) -> None:
    """Damages the bytes of a file."""
    path.write_bytes(changed(path.read_bytes(), chance))


def changed(data: bytes, chance: Random) -> bytes:
    """The bytes with some flipped, overwritten, put in, taken out, repeated, cut off, or all others."""
    start = chance.randrange(len(data) + 1)
    stop = min(len(data), start + chance.choice((1, 1, 2, 4, 8, 64, 1 << 30)))
    snippet = chance.choice((chance.choice(_SNIPPETS), chance.randbytes(chance.choice((1, 4, 8, 30)))))
    match chance.choice(("flip", "flip", "flip", "overwrite", "insert", "remove", "repeat", "cut", "other")):
        case "flip":
            return _flipped(data, chance)
        case "overwrite":
            return data[:start] + snippet + data[start + len(snippet) :]
        case "insert":
            return data[:start] + snippet + data[start:]
        case "remove":
            return data[:start] + data[stop:]
        case "repeat":
            return data[:stop] + data[start:]
        case "cut":
            return data[:start]
    return chance.choice((b"", b"\0" * len(data), chance.randbytes(len(data)), chance.choice(_SNIPPETS), data * 2))


def _flipped(data: bytes, chance: Random) -> bytes:
    flipped = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8)) if data else 0):
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def changed_json(value: Any, chance: Random) -> Any:
    """A JSON value with something in it replaced, taken out, doubled, renamed, or exchanged with something else."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    for _ in range(chance.choice((1, 1, 2, 3)) if places else 0):
        inside, key = chance.choice(places)
        if not (key in inside if isinstance(inside, dict) else key < len(inside)):
            continue
        match chance.choice(("replace", "replace", "near", "remove", "exchange", "rename")):
            case "replace":
                inside[key] = chance.choice(EVIL)
            case "near":
                inside[key] = _near(inside[key], chance)
            case "remove":
                del inside[key]
            case "exchange":
                other, name = chance.choice(places)
                if name in other if isinstance(other, dict) else name < len(other):
                    inside[key] = json.loads(json.dumps(other[name]))
            case "rename" if isinstance(inside, dict):
                inside[str(chance.choice(EVIL))] = inside.pop(key)
    return value if places else chance.choice(EVIL)


def _near(value: Any, chance: Random) -> Any:
    if isinstance(value, bool | None) or not isinstance(value, int | float | str | list):
        return not value
    if isinstance(value, str):
        return changed(value.encode(), chance).decode("utf-8", "replace")
    return value * 2 if isinstance(value, list) else value + chance.choice((-1, 1, 2**20, 2**32))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key or index) of everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def reseal(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the values of a sealed JSON file in place, or returns others, and makes its checksum anew."""
    values = json.loads(path.read_bytes())
    values.pop(integrity.CHECKSUM)
    values = change(values) or values
    path.write_text(json.dumps(integrity.sealed(values) if isinstance(values, dict) else values), encoding="utf-8")


def planted(chance: Random) -> bytes:
    """A file that runs code when it is unpickled: bare, as torch saves it, or as numpy does."""
    data = pickle.dumps(chance.choice(_PAYLOADS), chance.randrange(6))
    match chance.choice(("bare", "torch", "npy", "npz", "part")):
        case "torch":
            return _zipped({"archive/data.pkl": data, "archive/version": b"3\n"})
        case "npy":
            return _npy(chance)
        case "npz":
            names = ("ids", "lengths", "names", "digests", "held_out", "records", "rejected", "tally")
            return _zipped({f"{name}.npy": _npy(chance) for name in names})
        case "part":
            return b"\x80\x04" + data[2:]
    return data


def _npy(chance: Random) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([chance.choice(_PAYLOADS)], dtype=object), allow_pickle=True)
    return file.getvalue()


def _zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def misplace(path: Path, chance: Random) -> None:
    """Puts in the place of a file or folder a link, a folder, a pipe, or nothing."""
    outside, aside = _outside(path), path.with_name(f"{path.name}.aside")
    kind = chance.choice(("moved", "outside", "loop", "device", "pipe", "folder", "nothing", "dangling"))
    path.rename(aside)
    match kind:
        case "moved":
            path.symlink_to(aside.name)
        case "outside":
            path.symlink_to(outside / "folder" if aside.is_dir() else outside / "precious.txt")
        case "loop":
            path.symlink_to(path.name)
        case "device":
            path.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.write_bytes(b"") if aside.is_dir() else path.mkdir()
        case "dangling":
            path.symlink_to("not_there")
    if kind != "moved":
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


def _outside(path: Path) -> Path:
    """The folder beside the box that must not be touched."""
    return next(folder for folder in path.parents if folder.name == "case").parent.parent / "outside"
