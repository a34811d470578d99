"""Small indexed datasets, and bytes of them that are others."""

from pathlib import Path

from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins.alphabet import encode

SEQUENCES = ["MKTVRQG", "L", "ACDEFGHIKLMNPQRSTVWYXBUZO", "GGGG"]

HEADER_BYTES = 34


def write(prefix: Path, sequences: list[str]) -> Path:
    with IndexedWriter(prefix) as writer:
        for sequence in sequences:
            writer.add(encode(sequence))
    return prefix


def patch_bytes(path: Path, offset: int, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(new)] = new
    path.write_bytes(bytes(data))
