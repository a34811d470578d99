"""What is trained on, what is held out, and what a judge is trained on: real proteins, and simulated ones."""

from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.data.whole import read_whole
from d2plm_megatron.proteins.fasta import write_fasta
from verification.objectives.commands import call

VALIDATION = 0.1
TEST = 0.1
"""Share of real proteins that a judge learns from: it must know neither what is held out nor what resembles that."""
JUDGE = 0.02
"""Share of a judge's proteins that its own validation takes."""


@dataclass(frozen=True)
class Corpus:
    """Proteins, split.

    Attributes:
        folder: where they and the runs on them are.
    """

    folder: Path

    @property
    def train(self) -> Path:
        """Prefix of what models train on."""
        return self.folder / "data" / "train"

    @property
    def validation(self) -> Path:
        """Prefix of what they are measured on."""
        return self.folder / "data" / "validation"

    @property
    def others(self) -> Path:
        """Folder of other proteins, prepared, which a judge of samples is trained on."""
        return self.folder / "others"


def real(source: Path, folder: Path) -> Corpus:
    """Proteins of a FASTA file in three sides without homologs between them, of which one is the judge's."""
    corpus = Corpus(folder)
    _prepare(source, folder / "data", VALIDATION, "--homology", "--test", TEST)
    if not (folder / "others.fasta").exists():
        others = read_whole(folder / "data" / "test")
        write_fasta(folder / "others.fasta", ((protein.name, protein.sequence) for protein in others))
    # By id, as by sequence they would all be on one side: these are the proteins of the highest hashes.
    _prepare(folder / "others.fasta", corpus.others, JUDGE, "--no-homology", "--split-by", "id")
    return corpus


def simulated(folder: Path, num_proteins: int) -> Corpus:
    """Families that evolved on the computer; the judge's proteins are of the same ancestors in another evolution."""
    corpus = Corpus(folder)
    for seed, target, validation in ((0, folder / "data", VALIDATION), (1, corpus.others, JUDGE)):
        source = folder / f"simulated_{seed}.fasta"
        if not source.exists():
            words = ("--proteins", num_proteins, "--seed", seed, "--mean-identity", 0.6)
            call("data_tools.simulate", "--output", source, *words)
        _prepare(source, target, validation, "--no-homology")
    return corpus


def _prepare(source: Path, target: Path, validation: float, *options: object) -> None:
    if not (target / "train.idx").exists():
        call("data_tools.prepare", "--input", source, "--output", target, "--validation", validation, *options)
