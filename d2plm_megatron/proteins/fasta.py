"""FASTA files, plain or compressed: reading, whole or in blocks for several processes, and writing."""

import re
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from d2plm_megatron.compression import open_text
from d2plm_megatron.files import atomic
from d2plm_megatron.proteins import foreign

_LINE_RESIDUES = 60
_BLOCK_BYTES = 1 << 15
_LONGEST_RECORD_BYTES = 1 << 26
_HEAD_BYTES = 1 << 10
_BEFORE_RECORDS = re.compile(rb"(?:[^\S\n]*\n|[#;][^\n]*(?:\n|$))*")


class TextBlock(NamedTuple):
    """Whole records of a FASTA file as bytes, and where they stand: line and record, from 1; `place` in the file."""

    text: bytes
    first_line: int
    first_record: int
    place: int


def read_fasta(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yields (id, sequence) of each record as written; the id is the first word of the header, or record_N without one.

    Raises what read_records raises.
    """
    for header, sequence in read_records(path):
        yield header.split(maxsplit=1)[0], sequence


def read_records(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yields (header without '>', sequence as written) of each record; an empty header becomes record_N.

    Raises FileNotFoundError, and ValueError naming the line for an empty file, another format, text before the first
    header, a record of more than 64 MiB, bytes that are no UTF-8 text, and what open_text raises. Empty lines and
    comments (# or ;) may come before the first header.
    """
    for block in text_blocks(path):
        yield from parse(path, block)


def parse(path: str | Path, block: TextBlock) -> Iterator[tuple[str, str]]:
    """Yields the records of a block, as read_records does. Raises ValueError for bytes that are no UTF-8 text."""
    from Bio.SeqIO.FastaIO import SimpleFastaParser  # slow, and not every command reads FASTA

    try:
        text = block.text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = block.first_line + block.text.count(b"\n", 0, error.start)
        raise ValueError(f"{path}, line {line}: not text in UTF-8; is this a FASTA file?") from None
    for number, (title, sequence) in enumerate(SimpleFastaParser(StringIO(text)), start=block.first_record):
        yield title.strip() or f"record_{number}", sequence


def text_blocks(path: str | Path, block_bytes: int = _BLOCK_BYTES) -> Iterator[TextBlock]:
    """Cuts a FASTA file into blocks of whole records, `block_bytes` or one record each, the last as it comes.

    The cuts depend on the file and `block_bytes` alone. Raises what read_records raises, but for what parse raises.
    """
    path = Path(path)
    with open_text(path) as plain:
        line = record = 1
        for text in _cut(plain.read, block_bytes, path):
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
    searched, line = 0, 1
    while data := read(block_bytes):
        if not waiting and line == 1:
            _begins(data[:_HEAD_BYTES], line, path)  # early, since there may be gigabytes without a header
        waiting += data
        if len(waiting) < block_bytes:
            continue
        end = waiting.rfind(b"\n>", searched) + 1
        if end:
            yield bytes(waiting[:end])
            line += waiting.count(b"\n", 0, end)
            del waiting[:end]
        elif len(waiting) > _LONGEST_RECORD_BYTES:
            raise ValueError(f"{path}, line {line}: a record of more than 64 MiB; is this a FASTA file of proteins?")
        searched = max(0, len(waiting) - 1)
    if waiting:
        yield bytes(waiting)


def _begins(text: bytes, line: int, path: Path) -> bool:
    """Whether the first record begins in this text: empty lines and comments may come before."""
    before = _BEFORE_RECORDS.match(text)
    assert before
    body = text[before.end() :]
    line += before.group().count(b"\n")
    if body.strip() and not body.startswith(b">"):
        if body.lstrip().startswith(b">"):
            raise ValueError(f"{path}, line {line}: white space before '>'; a header must begin its line, remove it")
        raise ValueError(f"{path}, line {line}: {foreign.describe(text[:_HEAD_BYTES], body[:_HEAD_BYTES])}")
    return body.startswith(b">")
