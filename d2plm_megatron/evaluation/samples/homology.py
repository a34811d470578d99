"""Diversity and novelty by MMseqs2: clusters of a column's proteins, and the nearest of those that are known."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from d2plm_megatron.console import note, progress
from d2plm_megatron.cores import available_cores
from d2plm_megatron.evaluation.samples.bootstrap import Interval, of_ratio
from d2plm_megatron.evaluation.samples.known import Known
from d2plm_megatron.evaluation.samples.panel import COLUMNS, NATURAL, SAMPLES, Panel
from d2plm_megatron.proteins import mmseqs
from d2plm_megatron.proteins.alignment import Alignment, align
from d2plm_megatron.proteins.mmseqs import MATCH, SearchOptions
from d2plm_megatron.proteins.named import Protein

NEAR_IDENTITY, NEAR_COVERAGE = 0.9, 0.8
"""Identity, and aligned part of the sample, from which on a sample is nearly a known protein."""

CLUSTER_IDENTITIES = (0.5, 0.9)
_THOROUGH = SearchOptions(sensitivity=7.5)
_MANY_RESIDUES = 100_000_000
_COPIES = 3  # FASTA, MMseqs2's own form of it, and what it writes on the way


@dataclass(frozen=True)
class Match:
    """A sample's nearest known protein, the match of MMseqs2 with the lowest e-value.

    Attributes:
        sample: its name.
        known: name of the known protein.
        identity: share of identical residues in the alignment.
        coverage: share of the sample that is aligned.
        e_value: how many matches as good chance gives.
    """

    sample: str
    known: str
    identity: float
    coverage: float
    e_value: float


@dataclass(frozen=True)
class Neighbour(Match):
    """A match, aligned.

    Attributes:
        alignment: of the sample (first) with the known protein; see align.
    """

    alignment: Alignment

    def as_json(self) -> dict[str, object]:
        """Names and numbers, and the rows of the alignment."""
        numbers = {"identity": self.identity, "coverage": self.coverage, "e_value": self.e_value}
        return {"sample": self.sample, "known": self.known, **numbers, "alignment": list(self.alignment.rows)}


@dataclass(frozen=True)
class Homology:
    """What MMseqs2 says of a panel.

    Attributes:
        measures: by column and key.
        identities: of each protein of a column, its residues that its nearest known protein has too, as a share of
            them all, by column; 0 without a match.
        neighbours: of the samples that have one, the most identical first.
    """

    measures: dict[str, dict[str, Interval]]
    identities: dict[str, np.ndarray]
    neighbours: list[Neighbour]


def measure_homology(panel: Panel, known: Known, folder: Path) -> Homology:
    """Searches the known proteins for those of all columns, and clusters each column.

    Short proteins have fewer matches that chance does not explain. So natural proteins are matched with the samples;
    those are searched for as they are. A natural protein is not its own neighbour.

    Args:
        panel: the columns.
        known: the proteins to search.
        folder: where scratch files are until the end. They take about as much as the known proteins several times.

    Raises ValueError saying how to install MMseqs2 where it is missing.
    """
    columns = {**panel.matched, SAMPLES: panel.columns[SAMPLES]}
    best = _best_matches(columns, known, known.selves(panel), folder)
    identities = {name: found["identity"] * found["query_coverage"] for name, found in best.items()}
    measures = {name: _nearness(best[name], identities[name]) for name in COLUMNS}
    for name in (SAMPLES, NATURAL):  # shuffled proteins are each a cluster
        measures[name] |= _diversity(columns[name], folder)
    return Homology(measures, identities, _neighbours(panel.samples, best[SAMPLES], known))


def _best_matches(
    columns: Mapping[str, Sequence[str]], known: Known, selves: np.ndarray, folder: Path
) -> dict[str, np.ndarray]:
    """Of each protein of each column its match with the lowest e-value, MATCH [n]; target -1 where there is none."""
    number = len(selves)
    own_of = np.full(len(COLUMNS) * number, -1)
    begin = COLUMNS.index(NATURAL) * number
    own_of[begin : begin + number] = selves
    if known.residues > _MANY_RESIDUES:
        note(f"MMseqs2 takes about {_COPIES * known.residues / 1e9:.1f} GB in {folder}, until it is done")
    with _scratch(folder) as scratch:
        queries, targets = scratch / "queries.fasta", scratch / "targets.fasta"
        mmseqs.write_numbered(queries, chain.from_iterable(columns[name] for name in COLUMNS))
        mmseqs.write_numbered(targets, (protein.sequence for protein in known.read("writing for MMseqs2")))
        with progress(f"searching {known.proteins:,} proteins"):
            matches = mmseqs.search(queries, targets, _THOROUGH, threads=available_cores())
    best = np.zeros(len(own_of), dtype=MATCH)
    best["target"], best["e_value"] = -1, np.inf
    matches = matches[matches["target"] != own_of[matches["query"]]]
    matches = matches[np.lexsort((matches["target"], matches["e_value"], matches["query"]))]
    queries_found, first = np.unique(matches["query"], return_index=True)
    best[queries_found] = matches[first]
    return dict(zip(COLUMNS, best.reshape(len(COLUMNS), number), strict=True))


def _nearness(best: np.ndarray, identities: np.ndarray) -> dict[str, Interval]:
    is_near = (best["identity"] >= NEAR_IDENTITY) & (best["query_coverage"] >= NEAR_COVERAGE)
    return {
        "near_copies": of_ratio(is_near.astype(float)),
        "homologs": of_ratio((best["target"] >= 0).astype(float)),
        "nearest_identity": of_ratio(identities.astype(float)),
    }


def _diversity(letters: Sequence[str], folder: Path) -> dict[str, Interval]:
    """Clusters as a share of the proteins: the mean over proteins of one over the size of its cluster."""
    found = {}
    with _scratch(folder) as scratch:
        path = scratch / "proteins.fasta"
        mmseqs.write_numbered(path, letters)
        for identity in CLUSTER_IDENTITIES:
            owners = mmseqs.cluster(path, identity, threads=available_cores())
            _, places, sizes = np.unique(owners, return_inverse=True, return_counts=True)
            found[f"clusters_{round(100 * identity)}"] = of_ratio(1 / sizes[places])
    return found


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A new folder in this one, which is on a disk where /tmp may be in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".judge.", dir=folder) as scratch:
        yield Path(scratch)


def _neighbours(samples: Sequence[Protein], best: np.ndarray, known: Known) -> list[Neighbour]:
    wanted = set(best["target"].tolist())
    read = known.read("reading neighbours")
    targets = {number: protein for number, protein in enumerate(read) if number in wanted}
    found = [
        Neighbour(
            sample=sample.name,
            known=targets[int(match["target"])].name,
            identity=float(match["identity"]),
            coverage=float(match["query_coverage"]),
            e_value=float(match["e_value"]),
            alignment=align(sample.sequence, targets[int(match["target"])].sequence),
        )
        for sample, match in zip(samples, best, strict=True)
        if match["target"] >= 0
    ]
    return sorted(found, key=lambda near: -near.identity * near.coverage)
