"""Attacks on indexed proteins: .bin, .idx, their checksums, shards that are merged, and clusters."""

import struct
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from d2plm_megatron.config import Data
from d2plm_megatron.data.assembly import to_batch
from d2plm_megatron.data.cluster_file import write_clusters
from d2plm_megatron.data.clusters import Clusters
from d2plm_megatron.data.corpus import open_corpora
from d2plm_megatron.data.index import HEADER
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.stream import PackStream, Position
from data_tools import inspect_indexed, merge
from verification.fuzzing import damage
from verification.fuzzing.attack import Attack, Reading, Valid
from verification.fuzzing.subjects import DATA, NUM_PROTEINS, command, recipe_in, write_data

BIN, IDX, SUMS, CLUSTERS = (f"{DATA}.{ending}" for ending in ("bin", "idx", "checksums.json", "clusters.npy"))
_COUNTS = (0, 1, 2, NUM_PROTEINS - 1, NUM_PROTEINS + 1, 2**31, 2**32, 2**63, 2**64 - 1)
_NUM_PACKS = 12


def make(folder: Path) -> None:
    """Proteins, and clusters of them."""
    write_data(folder)
    write_clusters(folder / CLUSTERS, np.arange(NUM_PROTEINS) // 3)


def trained_on(folder: Path) -> Any:
    """The packs that training would see first, and whether the check of all bytes, asked for, is content."""
    return {"packs": _packs(recipe_in(folder).data), "noticed": _noticed(folder)}


def trained_on_clusters(folder: Path) -> Any:
    """The same, one of each cluster, with the numbers of a dry run, which reads all clusters."""
    options = Data(**{**vars(recipe_in(folder).data), "clusters": str(folder / CLUSTERS)})
    for corpus in open_corpora(options):
        corpus.num_tokens(options.max_length_residues)
    clusters = Clusters(folder / CLUSTERS, NUM_PROTEINS)
    return {"packs": _packs(options), "noticed": False, "sample": clusters.identity()["sample"]}


def _packs(options: Data) -> list[list[int]]:
    stream = PackStream.open(options, seed=1)
    taken = islice(stream.packs_from(Position()), _NUM_PACKS)
    return [to_batch(stream.sources, slices, epoch, options).tokens_T.tolist() for slices, epoch, _ in taken]


def _noticed(folder: Path) -> bool:
    try:
        verified(folder)
    except ValueError:
        return True
    return False


def verified(folder: Path) -> Any:
    """The proteins that inspect_indexed finds, as it writes them to FASTA."""
    proteins = IndexedProteins(folder / DATA)
    proteins.verify()
    return [proteins[number].tolist() for number in range(len(proteins))]


def inspected(folder: Path) -> Any:
    """The same by the command."""
    command(inspect_indexed.main, folder / DATA, "--fasta", folder / "out.fasta")
    return (folder / "out.fasta").read_text(encoding="utf-8")


def merged(folder: Path) -> Any:
    """The proteins twice, as the shards of a whole."""
    command(merge.main, "--input", folder / DATA, "--input", folder / DATA, "--output", folder / "whole")
    return [(folder / f"whole.{ending}").read_bytes().hex() for ending in ("bin", "idx")]


def is_equal_or_noticed(valid: Valid, reading: Reading) -> str | None:
    """Packs are those of what is valid, or what reads all bytes on request says that they are not."""
    if reading.found["packs"] == valid.found["packs"] or reading.found["noticed"]:
        return None
    return "trains on other data, and the check of all bytes does not notice"


def is_equal_or_other_file(valid: Valid, reading: Reading) -> str | None:
    """Draws are those of what is valid, or a run that continues is told that its clusters are others."""
    same = [reading.found[name] == valid.found[name] for name in ("packs", "sample")]
    return None if same[0] or not same[1] else "draws others from what looks like the same clusters"


def _damage(*names: str) -> Callable[[Path, Random], None]:
    def tamper(folder: Path, chance: Random) -> None:
        damage.damage_bytes(folder / chance.choice(names), chance)

    return tamper


def _tamper_index(folder: Path, chance: Random) -> None:
    """Lies in header, lengths, offsets and boundaries; two that agree with one another, too."""
    path = folder / IDX
    data = bytearray(path.read_bytes())
    lengths, offsets = HEADER.size, HEADER.size + 4 * NUM_PROTEINS
    number = chance.randrange(NUM_PROTEINS - 1)
    match chance.choice(("header", "length", "offset", "boundary", "agreeing")):
        case "header":
            struct.pack_into("<Q", data, chance.choice((9, 18, 26)), chance.choice(_COUNTS))
        case "length":
            struct.pack_into("<i", data, lengths + 4 * number, chance.choice((0, -1, 7, 2**31 - 1, -(2**31))))
        case "offset":
            struct.pack_into("<q", data, offsets + 8 * number, chance.choice((-1, 0, 7, 2**40, 2**63 - 1, -(2**63))))
        case "boundary":
            place = offsets + 8 * NUM_PROTEINS + 8 * number
            struct.pack_into("<q", data, place, chance.choice((-1, 0, 7, number + 1, 2**62)))
        case "agreeing":
            for place, by in ((number, 1), (number + 1, -1)):
                (old,) = struct.unpack_from("<i", data, lengths + 4 * place)
                struct.pack_into("<i", data, lengths + 4 * place, old + by)
            (old,) = struct.unpack_from("<q", data, offsets + 8 * (number + 1))
            struct.pack_into("<q", data, offsets + 8 * (number + 1), old + 1)
    path.write_bytes(data)


def _tamper_clusters(folder: Path, chance: Random) -> None:
    values = np.load(folder / CLUSTERS)
    match chance.choice(("bytes", "value", "exchange", "kind", "pickle")):
        case "bytes":
            damage.damage_bytes(folder / CLUSTERS, chance)
            return
        case "value":
            values[chance.randrange(len(values))] = chance.choice((-1, 0, 5, NUM_PROTEINS, 2**62, -(2**63)))
        case "exchange":
            one, other = chance.randrange(len(values)), chance.randrange(len(values))
            values[[one, other]] = values[[other, one]]
        case "kind":
            values = chance.choice((values.astype(float), values.astype(">i8"), values[None], values[:0], values[:-1]))
        case "pickle":
            (folder / CLUSTERS).write_bytes(damage.planted(chance))
            return
    np.save(folder / CLUSTERS, values)


def _misplace(folder: Path, chance: Random) -> None:
    damage.misplace(folder / chance.choice((BIN, IDX, SUMS)), chance)


READERS = (trained_on, inspected, merged)


def _judge(valid: Valid, reading: Reading) -> str | None:
    if isinstance(reading.found, dict):
        return is_equal_or_noticed(valid, reading)
    return None if reading.found == valid.found else "read other data in silence"


def _without_sums(folder: Path, chance: Random) -> None:
    """As Megatron's own builder leaves them; then only what contradicts itself can be noticed."""
    (folder / SUMS).unlink()
    path = folder / chance.choice((BIN, IDX))
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))] if chance.random() < 0.5 else chance.randbytes(len(data)))


ATTACKS = (
    Attack("idx", make, _tamper_index, READERS, _judge),
    Attack("idx-bytes", make, _damage(IDX), READERS, _judge),
    Attack("bin", make, _damage(BIN), READERS, _judge),
    Attack("data-checksums", make, _damage(SUMS), READERS, _judge),
    Attack("data-without-checksums", make, _without_sums, READERS, _judge),
    Attack("data-links", make, _misplace, READERS, lambda valid, reading: None),
    Attack("clusters", make, _tamper_clusters, (trained_on_clusters,), is_equal_or_other_file),
)
