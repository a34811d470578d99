"""What a run reads."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from d2plm_megatron.config.checks import check_options, option

CLUSTERS_ENDING = ".clusters.npy"
LENGTHS, TOKENS = (1, 1 << 20), (1, 1 << 24)
"""Residues of a protein, and tokens of a pack, that could be meant."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One corpus of the training data.

    Attributes:
        prefix: of its files.
        share: of the proteins drawn, exactly; the shares of a run add up to 1.
        clusters: its cluster file, if it is drawn by cluster.
    """

    prefix: str
    share: Fraction = Fraction(1)
    clusters: str | None = None


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the run reads."""

    train: str | None = option(
        None,
        "prefix of the training data, PREFIX.bin and PREFIX.idx; of several corpora the prefixes and weights, as in "
        "'uniref/train:0.7 family/train:0.3': their shares of the proteins drawn",
    )
    clusters: str | None = option(
        None,
        "cluster files, PREFIX.clusters.npy for a PREFIX of data.train: a pass draws one member of each of its "
        "clusters, instead of every protein; several with spaces between",
    )
    validation: str | None = option(None, "prefix of the validation data; without it nothing is evaluated")
    max_length_residues: int = option(
        1022, "longer proteins are cropped to this, at a new place in each epoch", LENGTHS
    )
    tokens_per_pack: int = option(16384, "tokens of a micro-batch: proteins are packed end to end up to it", TOKENS)
    window_proteins: int = option(8192, "proteins looked at together when packing; more pack tighter", (1, 1 << 20))

    @property
    def sources(self) -> tuple[Source, ...]:
        """The corpora that `train` names, in its order, with their shares and cluster files."""
        weights = _weights_of(self.train)
        clusters = {Path(file.removesuffix(CLUSTERS_ENDING)): file for file in (self.clusters or "").split()}
        for prefix, file in clusters.items():
            if not file.endswith(CLUSTERS_ENDING) or prefix not in map(Path, weights):
                allowed = " or ".join(known + CLUSTERS_ENDING for known in weights) or "none without data.train"
                raise ValueError(f"data.clusters={file}: belongs to no corpus of data.train; allowed: {allowed}")
        total = sum(weights.values())
        return tuple(
            Source(prefix=prefix, share=weight / total, clusters=clusters.get(Path(prefix)))
            for prefix, weight in weights.items()
        )

    def __post_init__(self) -> None:
        check_options(self, "data.")
        _ = self.sources  # refuses what it cannot read
        if self.tokens_per_pack < self.max_length_residues + 2:
            raise ValueError(
                f"data.tokens_per_pack={self.tokens_per_pack}: must be at least data.max_length_residues + 2 "
                f"({self.max_length_residues + 2}), so that the longest protein fits with its two end tokens"
            )


_WEIGHT = re.compile(r"\d{1,12}(\.\d{1,12})?(/\d{1,12}|[eE][+-]?\d{1,2})?|\.\d{1,12}")
"""Not all that Fraction reads: 1e99999999 would take it forever."""


def _weights_of(train: str | None) -> dict[str, Fraction]:
    """The prefixes of `data.train` and their weights, as written: "a:0.7 b:0.3", or one prefix, whose weight is 1."""
    if train is None:
        return {}
    words = [word.rpartition(":") for word in train.split()]
    if len(words) < 2 or not any(colon for _, colon, _ in words):
        return {train: Fraction(1)}
    weights: dict[str, Fraction] = {}
    for prefix, _, text in words:
        try:
            weight = Fraction(text) if _WEIGHT.fullmatch(text) else Fraction(0)
        except ZeroDivisionError:
            weight = Fraction(0)
        if not prefix or weight <= 0:
            raise ValueError(f"data.train={train}: write every corpus as PREFIX:WEIGHT, with a weight above 0")
        if prefix in weights:
            raise ValueError(f"data.train={train}: names {prefix} twice; give it the sum of its weights")
        weights[prefix] = weight
    return weights
