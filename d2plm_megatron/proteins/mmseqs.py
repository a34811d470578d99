"""Training proteins that resemble a validation protein, found by MMseqs2 (Steinegger and Soeding, NBT 35:1026, 2017).

Without this, validation measures memory as much as understanding. The validation proteins are the target database and
the training proteins the queries, as for ESM-2 (Lin et al., Science 379:1123, 2023): sensitivity 7, at most 300
candidates, coverage of both proteins. Searched in groups, whose results are kept, so that a kill costs one group. A
query needs but one match, so the search ends there. MMseqs2's prefilter is heuristic: what it does not propose is not
compared.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2plm_megatron.files import atomic
from d2plm_megatron.proteins.fasta import write_fasta

_LAST_LINES = 3
_HIT = np.dtype([("number", "<i8"), ("target", "<i8"), ("identity", "<f4")])


@dataclass(frozen=True)
class Homology:
    """What counts as too alike.

    Attributes:
        min_sequence_identity: share of identical residues in the alignment, from this on.
        min_coverage: share of both proteins that is aligned, from this on.
        sensitivity: of the prefilter, 1 (fast) to 7.5.
        memory: limit of MMseqs2's index, such as 4G.
    """

    min_sequence_identity: float
    min_coverage: float
    sensitivity: float
    memory: str

    def __post_init__(self) -> None:
        for name in ("min_sequence_identity", "min_coverage"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected 0 to 1")
        if not 1 <= self.sensitivity <= 7.5:
            raise ValueError(f"--sensitivity {self.sensitivity}: expected 1 to 7.5")
        if not re.fullmatch("[1-9][0-9]{0,5}[KMGT]", self.memory):
            raise ValueError(f"--mmseqs-memory {self.memory}: expected a number and one of K, M, G and T, such as 4G")


def mmseqs_version() -> str:
    """The version of the MMseqs2 that is installed. Raises ValueError, saying how to install it, if none is."""
    if not shutil.which("mmseqs"):
        raise ValueError(
            "MMseqs2 is missing: install it (apt-get install mmseqs2, conda install -c bioconda -c conda-forge mmseqs2 "
            "or brew install mmseqs2), or go without by --no-homology, which leaves relatives of validation in training"
        )
    return subprocess.run(["mmseqs", "version"], capture_output=True, text=True, check=True).stdout.strip()


def search(hits: Path, queries: Iterable[tuple[str, str]], targets: Path, homology: Homology, threads: int) -> None:
    """Writes which queries, (number, sequence), match a target, and one that each matches, as read_hits reads it.

    targets    FASTA whose ids are numbers

    Raises ValueError with the last words of MMseqs2 when it fails.
    """
    folder = hits.with_suffix(".mmseqs")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    source, found = folder / "queries.fasta", folder / "matches.tsv"
    write_fasta(source, queries)
    if source.stat().st_size:  # MMseqs2 fails on a file without a record
        _run(
            ["easy-search", source, targets, found, folder / "scratch", "--threads", threads],
            ["--min-seq-id", homology.min_sequence_identity, "-c", homology.min_coverage, "--cov-mode", 0],
            ["-s", homology.sensitivity, "--alignment-mode", 3, "--max-seqs", 300, "--max-accept", 1],
            ["--split-memory-limit", homology.memory, "--format-output", "query,target,fident", "-v", 1],
        )
    some = found.exists() and found.stat().st_size
    matches = np.loadtxt(found, dtype=_HIT, ndmin=1) if some else np.empty(0, dtype=_HIT)
    with atomic(hits) as (temporary,), temporary.open("wb") as file:
        np.save(file, matches[np.argsort(matches["number"])])
    shutil.rmtree(folder)


def read_hits(hits: Path) -> np.ndarray:
    """The matches that `search` wrote: number of the query, number of its target, share of identical residues.

    Raises ValueError naming the file if it is damaged or gone.
    """
    try:
        with hits.open("rb") as file:
            found: np.ndarray = np.lib.format.read_array(file)
    except (ValueError, EOFError, OSError, MemoryError):
        found = np.empty(0)
    if found.dtype != _HIT or found.ndim != 1 or (np.diff(found["number"]) < 0).any():
        raise ValueError(f"{hits}: damaged; remove it, and the same command makes it again")
    return found


def are_hits(hits: Path, first: int, last: int) -> bool:
    """Whether a file holds matches of queries `first` up to `last`."""
    try:
        numbers = read_hits(hits)["number"]
    except ValueError:
        return False
    return not len(numbers) or bool(first <= numbers[0] and numbers[-1] < last)


def _run(*parts: list[object]) -> None:
    command = ["mmseqs", *(str(word) for part in parts for word in part)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split("\n")[-_LAST_LINES - 1 :]).strip()
        raise ValueError(f"mmseqs {command[1]} failed with exit code {done.returncode}: {said}")
