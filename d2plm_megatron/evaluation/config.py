"""What is asked of an evaluation."""

from dataclasses import dataclass
from typing import Any

from d2plm_megatron.config import at_least, between
from d2plm_megatron.runs.options import MOST_DRAWS


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How held-out proteins are measured.

    Attributes:
        num_draws: of noise for each protein.
        until: draws go on until the error of draws of the ELBO's perplexity is not above this; None for `num_draws`
            alone.
        seed: of the noise.
        window: residues that go through the model as one; None for those that it was trained on.
        max_length: proteins of more residues are left out; None for none.
        max_proteins: that are looked at, a fixed sample of those there are.
        pseudo_proteins: of which each residue is masked once, a fixed sample; None for no pseudo-perplexity.
        tokens_per_pack: that go through the model at once.
        train: what n-grams are fitted to, as data.train; None for what the model was trained on.

    Raises ValueError naming a number that cannot be meant.
    """

    num_draws: int = 8
    until: float | None = None
    seed: int = 0
    window: int | None = None
    max_length: int | None = None
    max_proteins: int = 1_000_000
    pseudo_proteins: int | None = None
    tokens_per_pack: int = 8192
    train: str | None = None

    def __post_init__(self) -> None:
        between("--draws", self.num_draws, 1, MOST_DRAWS)
        lowest = {"window": 2, "max_length": 1, "max_proteins": 1, "pseudo_proteins": 1, "tokens_per_pack": 16}
        for key, least in lowest.items():
            at_least(f"--{key.replace('_', '-')}", getattr(self, key), least)
        if self.until is not None and not self.until > 0:
            raise ValueError(f"--until {self.until}: must be above 0, an error of the perplexity, such as 0.01")

    def numbers(self) -> dict[str, Any]:
        """As JSON, what of it was given beside the number of draws."""
        return {"seed": self.seed, "until": self.until, "max_length": self.max_length}
