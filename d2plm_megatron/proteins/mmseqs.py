"""MMseqs2 (Steinegger and Soeding, NBT 35:1026, 2017): which proteins resemble which, and which form a cluster.

Proteins are given as FASTA files that `write_numbered` wrote, and are named by their numbers in the results. MMseqs2's
prefilter is heuristic: two proteins that it does not propose are not compared.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2plm_megatron.proteins.fasta import write_fasta

MATCH = np.dtype(
    [
        *(("query", "<i8"), ("target", "<i8"), ("identity", "<f4")),
        *(("query_coverage", "<f4"), ("target_coverage", "<f4"), ("e_value", "<f8")),
    ]
)
"""A match of two proteins: their numbers, the fraction of identical residues in the alignment, the fraction of each
that is aligned, and how many matches as good chance gives among so many targets (at most 0.001)."""

_COLUMNS = "query,target,fident,qcov,tcov,evalue"
_PAIR = np.dtype([("representative", "<i8"), ("member", "<i8")])
_LAST_LINES = 3


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """When two proteins match, and how thoroughly matches are looked for.

    Attributes:
        min_sequence_identity: the least fraction of identical residues in the alignment.
        min_coverage: the least fraction of both proteins that is aligned.
        sensitivity: of the prefilter, from 1 (fast) to 7.5.
        memory: the limit of MMseqs2's index, such as 4G.
        max_candidates: how many targets per query the prefilter may propose.
        max_matches: how many matches end the search for a query; None looks for all.
    """

    min_sequence_identity: float = 0.0
    min_coverage: float = 0.0
    sensitivity: float = 5.7
    memory: str = "4G"
    max_candidates: int = 300
    max_matches: int | None = None

    def __post_init__(self) -> None:
        for name in ("min_sequence_identity", "min_coverage"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected 0 to 1")
        if not 1 <= self.sensitivity <= 7.5:
            raise ValueError(f"--sensitivity {self.sensitivity}: expected 1 to 7.5")
        if not re.fullmatch("[1-9][0-9]{0,5}[KMGT]", self.memory):
            raise ValueError(f"--mmseqs-memory {self.memory}: expected a number and one of K, M, G and T, such as 4G")


def version() -> str:
    """The version of the MMseqs2 that is installed. Raises ValueError, saying how to install it, if none is."""
    return _run(["version"]).strip()


def write_numbered(path: Path, sequences: Iterable[str]) -> None:
    """Writes a FASTA file in which the id of each protein is its number, counted from 0."""
    write_fasta(path, ((str(number), sequence) for number, sequence in enumerate(sequences)))


def search(queries: Path, targets: Path, options: SearchOptions, threads: int = 1) -> np.ndarray:
    """The matches of queries among targets: an array of MATCH, by rising number of the query.

    Both are files of `write_numbered`. Scratch files are in a folder beside the queries until the search ends. Raises
    ValueError with the last words of MMseqs2 if it fails, and saying how to install it if it is missing.
    """
    with _scratch(queries) as folder:
        found = folder / "matches.tsv"
        if queries.stat().st_size and targets.stat().st_size:  # MMseqs2 fails on a file without a record
            _run(
                ["easy-search", queries, targets, found, folder / "files", "--threads", threads, "-v", 1],
                ["--min-seq-id", options.min_sequence_identity, "-c", options.min_coverage, "--cov-mode", 0],
                ["-s", options.sensitivity, "--alignment-mode", 3, "--max-seqs", options.max_candidates],
                ["--max-accept", options.max_matches] if options.max_matches else [],
                ["--split-memory-limit", options.memory, "--format-output", _COLUMNS],
            )
        matches = _read(found, MATCH)
    return matches[np.argsort(matches["query"], kind="stable")]


def cluster(proteins: Path, min_sequence_identity: float, min_coverage: float = 0.8, threads: int = 1) -> np.ndarray:
    """The representative of each protein's cluster, int64 [N]: the number of a protein, that of itself if it is one.

    `proteins` is a file of `write_numbered`. A member has at least these fractions of residues identical with its
    representative, and aligned with it in both. Clusters are found in a single step, whatever the number of proteins,
    so that those of small and large sets can be compared. Raises what `search` raises.
    """
    with _scratch(proteins) as folder:
        if proteins.stat().st_size:
            _run(
                ["easy-cluster", proteins, folder / "found", folder / "files", "--threads", threads, "-v", 1],
                ["--min-seq-id", min_sequence_identity, "-c", min_coverage, "--cov-mode", 0],
                ["--single-step-clustering", 1],
            )
        pairs = _read(folder / "found_cluster.tsv", _PAIR)
    representatives: np.ndarray = pairs["representative"][np.argsort(pairs["member"])]
    return representatives


@contextmanager
def _scratch(source: Path) -> Iterator[Path]:
    """A new folder beside a file; one that a killed process left there is replaced."""
    folder = source.with_suffix(".mmseqs")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(table: Path, dtype: np.dtype) -> np.ndarray:
    """The rows of a table of numbers; none of a table that is missing or empty."""
    if not table.exists() or not table.stat().st_size:
        return np.empty(0, dtype=dtype)
    return np.loadtxt(table, dtype=dtype, ndmin=1)


def _run(*parts: list[object]) -> str:
    """Runs MMseqs2 and returns what it printed."""
    if not shutil.which("mmseqs"):
        raise ValueError(
            "MMseqs2 is missing: install it (apt-get install mmseqs2, conda install -c bioconda -c conda-forge mmseqs2 "
            "or brew install mmseqs2)"
        )
    command = ["mmseqs", *(str(word) for part in parts for word in part)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split("\n")[-_LAST_LINES - 1 :]).strip()
        raise ValueError(f"mmseqs {command[1]} failed with exit code {done.returncode}: {said}")
    return done.stdout
