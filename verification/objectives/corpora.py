"""What is trained on, what is held out, and what a judge is trained on: real proteins, and simulated ones."""

from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.files import write_text
from d2plm_megatron.proteins.alphabet import decode
from d2plm_megatron.proteins.fasta import read_fasta
from verification.objectives.commands import call

VALIDATION = 0.1
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
    """Proteins of a FASTA file without homologs between the sides; the judge's are those left out as homologs."""
    corpus = Corpus(folder)
    _prepare(source, folder / "data", VALIDATION, "--homology")
    if not (folder / "others.fasta").exists():
        sides = [IndexedProteins(prefix) for prefix in (corpus.train, corpus.validation)]
        known = {decode(side[number]) for side in sides for number in range(len(side))}
        rest = (f">{name}\n{letters}\n" for name, letters in read_fasta(source) if letters.upper() not in known)
        write_text(folder / "others.fasta", "".join(rest))
    _prepare(folder / "others.fasta", corpus.others, JUDGE, "--no-homology")
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


def _prepare(source: Path, target: Path, validation: float, homology: str) -> None:
    if not (target / "train.idx").exists():
        call("data_tools.prepare", "--input", source, "--output", target, "--validation", validation, homology)
