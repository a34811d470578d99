"""What is asked for, as it was typed, and what that means. Neither torch nor Megatron is needed here."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from d2plm_megatron.data.checksums import samples_of
from d2plm_megatron.data.indexed_writer import files_of
from d2plm_megatron.files import is_file
from d2plm_megatron.generation.contigs import parse
from d2plm_megatron.generation.exclusion import KnownProteins, read_known
from d2plm_megatron.generation.lengths import LIKE, TRAINING, length_range, read_lengths
from d2plm_megatron.generation.prompts import (
    FreePrompts,
    GivenPrompts,
    Prompts,
    RestrictedPrompts,
    read_starts,
    read_templates,
)
from d2plm_megatron.generation.residues import read_residue_table
from d2plm_megatron.generation.scaffolds import Scaffolds, read_motifs
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.requested import of_model
from d2plm_megatron.runs.tensor_index import EMA
from d2plm_megatron.sampling.options import SamplerOptions

LENGTH, STRENGTH = "100:200", 0.3
"""Where nothing else is asked for."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """All that decides what is generated. Options of the command, by their names, say what each field means.

    Raises ValueError for options that do not go together, or a strength that is none.
    """

    checkpoint: Checkpoint
    num_sequences: int = 64
    steps: int = 64
    temperature: float = 1.0
    seed: int = 0
    tokens_per_pack: int = 8192
    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    weights: str = EMA
    precision: str | None = None
    length: str | None = None
    template: tuple[str, ...] = ()
    motif: Path | None = None
    contigs: str | None = None
    total_length: str | None = None
    start: Path | None = None
    strength: float | None = None
    residues: Path | None = None
    forbid: str = ""
    exclude: tuple[str, ...] = ()
    score: bool = False
    rank: bool = False

    def __post_init__(self) -> None:
        kinds = {"length": self.length, "template": self.template, "contigs": self.contigs, "start": self.start}
        if len(given := [f"--{name}" for name, value in kinds.items() if value not in (None, ())]) > 1:
            raise ValueError(f"{' and '.join(given)}: each says what the proteins are to be; give one of them")
        for name, other in (("motif", "contigs"), ("total_length", "contigs"), ("strength", "start")):
            if getattr(self, name) is not None and getattr(self, other) is None:
                raise ValueError(f"--{name.replace('_', '-')}: goes with --{other}, which is missing")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ValueError(f"--strength {self.strength:g}: must be above 0, for the same proteins, and at most 1")

    @cached_property
    def prompts(self) -> Prompts:
        """What each protein begins with. Raises ValueError or OSError for what cannot be."""
        table = read_residue_table(self.residues, self.forbid)
        return self._prompts if table is None else RestrictedPrompts(self._prompts, table)

    @cached_property
    def known(self) -> KnownProteins | None:
        """The proteins that are not wanted. Raises ValueError or OSError naming what cannot be read."""
        return read_known(self.exclude, self.checkpoint.recipe.data) if self.exclude else None

    @property
    def noised(self) -> float | None:
        """The share of residues of given proteins that is expected to be noised; None where blanks are filled."""
        return None if self.start is None else self.strength or STRENGTH

    def told(self) -> dict[str, Any]:
        """All that decides what is generated, as JSON, with a checksum of a sample of each file that is read."""
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        words = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
        return words | {
            **of_model(self.checkpoint),
            "sampler": str(self.sampler),
            "files": samples_of(self.files()),
        }

    def files(self) -> list[Path]:
        """All files that are read beside the checkpoint."""
        return [path for name in self._names() for path in (Path(name), *files_of(name)) if is_file(path)]

    def _names(self) -> Iterator[str]:
        """What may name a file, or the prefix of some."""
        yield from (str(path) for path in (self.motif, self.start, self.residues) if path)
        for name in (*self.template, *self.exclude, (self.length or "").removeprefix(LIKE)):
            if name == TRAINING:
                yield from (source.prefix for source in self.checkpoint.recipe.data.sources)
            elif name:
                yield name

    @cached_property
    def _prompts(self) -> Prompts:
        if self.template:
            return GivenPrompts(read_templates(self.template), self.num_sequences, "template")
        if self.start:
            return GivenPrompts(read_starts(self.start), self.num_sequences, "start")
        if self.contigs is not None:
            segments = parse(self.contigs)
            motifs = read_motifs(self.motif, segments)
            total = length_range("--total-length", self.total_length) if self.total_length else None
            return Scaffolds(segments, motifs, self.num_sequences, total)
        return FreePrompts(
            read_lengths(LENGTH if self.length is None else self.length, self.checkpoint.recipe.data),
            self.num_sequences,
        )
