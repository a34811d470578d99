"""FASTA files, plain, gzip or zstd: reading, whole or in blocks for several processes, and writing."""

from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from Bio.SeqIO.FastaIO import SimpleFastaParser

from d2plm_megatron.files import atomic
from data_tools.compression import open_plain

_LINE_RESIDUES = 60
_BLOCK_BYTES = 1 << 15
_LONGEST_RECORD_BYTES = 1 << 26
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextBlock(NamedTuple):
    """Whole records of a FASTA file as bytes, and where they stand: line and record, from 1; `place` in the file."""

    text: bytes
    first_line: int
    first_record: int
    place: int


def read_fasta(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yields (id, sequence) of each record as written; the id is the first word of the header, or record_N without one.

    Raises FileNotFoundError, and ValueError naming the line for an empty file, text before the first header, a record
    of more than 64 MiB, bytes that are no UTF-8 text, damaged data, or a compression and an ending not going together.
    """
    for block in text_blocks(path):
        for title, sequence in parse(path, block):
            yield title.split(maxsplit=1)[0], sequence


def parse(path: str | Path, block: TextBlock) -> Iterator[tuple[str, str]]:
    """Yields (header without '>', sequence) of the records of a block; an empty header becomes record_N.

    Raises ValueError naming the line for bytes that are no UTF-8 text.
    """
    try:
        text = block.text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = block.first_line + block.text.count(b"\n", 0, error.start)
        raise ValueError(f"{path}, line {line}: not text in UTF-8; is this a FASTA file?") from None
    for number, (title, sequence) in enumerate(SimpleFastaParser(StringIO(text)), start=block.first_record):
        yield title.strip() or f"record_{number}", sequence


def text_blocks(path: str | Path, block_bytes: int = _BLOCK_BYTES) -> Iterator[TextBlock]:
    """Cuts a FASTA file into blocks of whole records, `block_bytes` or one record each, the last as it comes.

    The cuts depend on the file and `block_bytes` alone. Raises what read_fasta raises, but for what parse raises.
    """
    path = Path(path)
    with open_plain(path) as plain:
        line = record = 1
        for text in _cut(plain.read, block_bytes, path):
            text = text.removeprefix(_BYTE_ORDER_MARK) if line == 1 else text
            if record > 1 or _begins(text, line, path):
                yield TextBlock(text, line, record, plain.file.tell())
            line += text.count(b"\n")
            record += text.count(b"\n>") + text.startswith(b">")
    if record == 1:
        raise ValueError(f"{path}: empty, no record in it")


def write_fasta(path: str | Path, records: Iterable[tuple[str, str]]) -> None:
    """Writes (header without '>', sequence) records, 60 residues to a line; the file appears when it is whole."""
    with atomic(Path(path)) as (temporary,), temporary.open("w", encoding="utf-8") as file:
        for header, sequence in records:
            lines = (sequence[i : i + _LINE_RESIDUES] for i in range(0, len(sequence), _LINE_RESIDUES))
            file.write("\n".join((f">{header}", *lines, "")))


def _cut(read: Callable[[int], bytes], block_bytes: int, path: Path) -> Iterator[bytes]:
    waiting = bytearray()
    line = 1
    while data := read(block_bytes):
        waiting += data
        end = waiting.rfind(b"\n>") + 1 if len(waiting) >= block_bytes else 0
        if end:
            yield bytes(waiting[:end])
            line += waiting.count(b"\n", 0, end)
            del waiting[:end]
        elif len(waiting) > _LONGEST_RECORD_BYTES:
            raise ValueError(f"{path}, line {line}: a record of more than 64 MiB; is this a FASTA file of proteins?")
    if waiting:
        yield bytes(waiting)


def _begins(text: bytes, line: int, path: Path) -> bool:
    """Whether the first record begins in this text: lines of white space alone may come before."""
    body = text.lstrip()
    before = text[: len(text) - len(body)]
    line += before.count(b"\n")
    if body and not body.startswith(b">"):
        first = body.splitlines()[0].decode("utf-8", "replace").strip()
        raise ValueError(f"{path}, line {line}: {first[:40]!r} comes before the first '>' header")
    if body and before and not before.endswith((b"\n", b"\r")):
        raise ValueError(f"{path}, line {line}: white space before '>'; a header must begin its line, remove it")
    return bool(body)
