"""The checksums of indexed proteins, PREFIX.checksums.json, which their writer leaves beside them.

    {"version": 1, "bin": {"bytes": 37, "blake2b": "..."}, "idx": {"bytes": 114, "blake2b": "..."}}

They are BLAKE2b of PREFIX.bin and of PREFIX.idx, 16 bytes in hexadecimal. A dataset that Megatron's own builder wrote
has no such file, and is read without it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

from d2plm_megatron.data.mapped import MappedFile

VERSION = 1
_DIGEST_BYTES = 16
_SAMPLES, _SAMPLE_BYTES = 256, 4096


@dataclass(frozen=True)
class FileSum:
    """The size of a file in bytes, and its BLAKE2b in hexadecimal."""

    bytes: int
    blake2b: str

    def __post_init__(self) -> None:
        if type(self.bytes) is not int or not re.fullmatch(f"[0-9a-f]{{{2 * _DIGEST_BYTES}}}", str(self.blake2b)):
            raise ValueError("no size and BLAKE2b")


@dataclass(frozen=True)
class Checksums:
    """The checksums of PREFIX.bin and of PREFIX.idx."""

    bin: FileSum
    idx: FileSum

    @classmethod
    def beside(cls, prefix: str | Path) -> Self | None:
        """The checksums that lie beside a dataset; None if there are none.

        Raises ValueError if their file is damaged, or if the files of the dataset have other sizes than it says.
        """
        path = path_of(prefix)
        if not path.is_file():
            return None
        try:
            fields = json.loads(path.read_bytes())
            if fields["version"] != VERSION:
                raise ValueError(f"version {fields['version']}")
            found = cls(FileSum(**fields["bin"]), FileSum(**fields["idx"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError(f"{path} is damaged; remove it, or convert the data again") from None
        for name, expected in vars(found).items():
            if (size := Path(f"{prefix}.{name}").stat().st_size) != expected.bytes:
                raise ValueError(
                    f"{path} is of other data: {expected.bytes:,} bytes, where {prefix}.{name} has {size:,}; remove "
                    "it, or convert the data again"
                )
        return found

    def compare(self, prefix: str | Path, found: Self) -> None:
        """Raises ValueError naming the file of a dataset whose checksum is another one."""
        for name, expected in vars(self).items():
            if vars(found)[name] != expected:
                raise ValueError(
                    f"{prefix}.{name} is not what was written, as {path_of(prefix).name} says; convert the data again"
                )

    def write(self, path: Path) -> None:
        """Writes PREFIX.checksums.json."""
        path.write_text(json.dumps({"version": VERSION, **asdict(self)}) + "\n", encoding="utf-8")

    @property
    def both(self) -> str:
        """A single checksum for both files together, in hexadecimal."""
        return blake2b(f"{self.bin.blake2b} {self.idx.blake2b}".encode(), digest_size=_DIGEST_BYTES).hexdigest()


class Sum:
    """The checksum of a file, which is computed while the file is read or written."""

    def __init__(self, data: bytes | memoryview = b"") -> None:
        self._digest = blake2b(data, digest_size=_DIGEST_BYTES)
        self._size = len(data)

    def add(self, data: bytes | memoryview) -> None:
        """Takes the next bytes of the file."""
        self._digest.update(data)
        self._size += len(data)

    def result(self) -> FileSum:
        """The size and the checksum of all bytes that were taken."""
        return FileSum(self._size, self._digest.hexdigest())


def path_of(prefix: str | Path) -> Path:
    """The path of the checksums of a dataset."""
    return Path(f"{prefix}.checksums.json")


def sample_of(files: Iterable[MappedFile]) -> str:
    """BLAKE2b, in hexadecimal, of the sizes of files and of evenly spaced parts of them, a MiB of each file."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for file in files:
        digest.update(len(file.content).to_bytes(8, "little"))
        for piece in file.sample(_SAMPLES, _SAMPLE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def samples_of(paths: Iterable[Path]) -> dict[str, str]:
    """The `sample_of` each file, by its path."""
    return {str(path): sample_of([MappedFile(path)]) for path in paths}
