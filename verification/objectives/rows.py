"""What is compared: each row is a recipe with overrides, trained at equal tokens from the same initial weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A model to train.

    Attributes:
        name: in the table.
        recipe: that it is a variant of.
        overrides: of the recipe.
        share: of the steps that all others take, where a fault would leave so many tokens.
    """

    name: str
    recipe: str
    overrides: tuple[str, ...] = ()
    share: float = 1.0

    @property
    def folder(self) -> str:
        """A name for its runs."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.name)


TOKENS_OF_STEP = 2048
COMMON = (
    f"data.tokens_per_pack={TOKENS_OF_STEP}",
    f"train.global_batch_tokens={TOKENS_OF_STEP}",
    "optimizer.lr=1e-3",
    "optimizer.warmup_steps=100",
)
"""What all rows share: small batches and a rate at which all of them learn on real proteins."""


def _flow(source: str, loss: str, name: str) -> Row:
    recipe = {"mask": "fm_tiny", "uniform": "fm_uniform_tiny"}[source]
    return Row(name, recipe, (f"objective.loss={loss}", "objective.schedule=linear"))


ROWS = (
    _flow("mask", "cross_entropy", "flow, mask, cross-entropy"),
    _flow("mask", "generalised_kl", "flow, mask, generalised KL"),
    _flow("uniform", "cross_entropy", "flow, uniform, cross-entropy"),
    _flow("uniform", "generalised_kl", "flow, uniform, generalised KL"),
    Row("flow, BLOSUM62", "fm_blosum_tiny"),
    Row("absorbing, ELBO weight", "absorbing_tiny"),
    Row("absorbing, uniform weight", "absorbing_tiny", ("objective.weight=uniform",)),
    Row("absorbing, linear weight", "absorbing_tiny", ("objective.weight=linear",)),
    Row("MLM 15%", "mlm_tiny"),
    Row("MLM 20%", "mlm_tiny", ("objective.mask_probability=0.2",)),
    Row("fault: a third of the draws over 99% masked", "fm_tiny", ("objective.schedule=polynomial:4",)),
    Row("fault: EMA over a few steps", "absorbing_tiny", ("ema.decay=0.5",)),
    Row("fault: 69% of the tokens are padding", "absorbing_tiny", share=0.31),
)
"""The table of objectives, and what some faults cost that codes of the field have."""


def by_name(wanted: str) -> tuple[Row, ...]:
    """The rows whose names hold a text. Raises ValueError when there is none."""
    found = tuple(row for row in ROWS if wanted.lower() in row.name.lower())
    if not found:
        raise ValueError(f"--only {wanted}: no row is called so; there are: {'; '.join(row.name for row in ROWS)}")
    return found
