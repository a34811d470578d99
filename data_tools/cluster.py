"""The clusters of a corpus, for training that draws a cluster and then one of its proteins, as that of ESM-2 did.

The table has a line per protein: its cluster, a tab, its id. MMseqs2 writes such tables (representative, member), and
the UniRef50 and UniRef90 columns of UniProt's id mapping give others. The proteins are those of the LMDB database that
the .bin and .idx were made from, in its order.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from d2plm_megatron.console import one_line, progress, run
from d2plm_megatron.data.cluster_file import write_clusters
from d2plm_megatron.files import check_outputs

from .formats.cluster_table import check_one_cluster_each, key, pairs
from .formats.proteins_lmdb import ProteinsLmdb, data_file

_ENDING = ".clusters.npy"
_LINES_AT_ONCE = 100_000


def main(
    database: Annotated[Path, typer.Option("--input", help="LMDB database that PREFIX.bin and PREFIX.idx come from.")],
    table: Annotated[Path, typer.Option(help="Cluster and id, tab between, a line per protein; also .gz and .zst.")],
    output: Annotated[Path, typer.Option(help="File to write, PREFIX.clusters.npy; replaced.")],
) -> None:
    """Writes which proteins of a corpus belong together, and prints how many clusters there are."""
    if not output.name.endswith(_ENDING):
        raise ValueError(f"--output {output}: must end in {_ENDING}, after the prefix of the corpus")
    check_outputs([output], [data_file(database), table])
    with ProteinsLmdb(database) as proteins:
        keys, clusters = read_table(table)
        with progress("looking up", total=len(proteins), unit="proteins") as advance:
            found = [look_up(names, keys, clusters, table) for names in _names(proteins, advance)]
        cluster_of, left_out = np.concatenate(found), proteins.left_out()
    write_clusters(output, cluster_of)
    if left_out:
        print(one_line(left_out))
    print(f"{output}: {len(cluster_of):,} proteins in {len(np.unique(cluster_of)):,} clusters")


def read_table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The keys of all ids in rising order, uint64 [n], and for each the key of its cluster, int64 [n].

    Raises what `pairs` raises, and ValueError naming an id that is in two clusters.
    """
    batches = []
    with progress("reading the table", unit="lines") as advance:
        rows = pairs(path)
        while some := list(islice(rows, _LINES_AT_ONCE)):
            batches.append(np.array([(key(cluster), key(name)) for cluster, name in some], dtype=np.uint64))
            advance(len(some))
    both = np.concatenate(batches)
    both = both[np.argsort(both[:, 1], kind="stable")]
    check_one_cluster_each(path, both[:, 1], both[:, 0])
    return both[:, 1], both[:, 0].view(np.int64)


def look_up(names: list[str], keys: np.ndarray, clusters: np.ndarray, table: Path) -> np.ndarray:
    """The key of the cluster of each protein, int64. Raises ValueError naming the first one that the table lacks."""
    digests = np.array([key(name) for name in names], dtype=np.uint64)
    places = np.searchsorted(keys, digests).clip(max=len(keys) - 1)
    missing = np.flatnonzero(keys[places] != digests)
    if missing.size:
        raise ValueError(f"{table}: has no line for {names[missing[0]]}")
    return clusters[places]


def _names(proteins: ProteinsLmdb, advance: Callable[[int], None]) -> Iterator[list[str]]:
    records = iter(proteins)
    while batch := list(islice(records, _LINES_AT_ONCE)):
        yield [record.protein for record in batch]
        advance(len(batch))


if __name__ == "__main__":
    run(main)
