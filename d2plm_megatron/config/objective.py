"""What the encoder learns."""

import math
from dataclasses import dataclass

from d2plm_megatron.config.checks import between, check_options, one_of, option
from d2plm_megatron.config.model import Model


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What the encoder learns; one of the subclasses, chosen with `objective=NAME`."""

    name: str = option("", "which objective this is")

    def __post_init__(self) -> None:
        check_options(self, "objective.")

    def check_model(self, model: Model) -> None:
        """Raises ValueError for a model that cannot learn this."""
        if model.time_conditioning:
            raise ValueError(f"model.time_conditioning=true: objective={self.name} has no time; set it to false")


@dataclass(frozen=True, kw_only=True)
class Timed(Objective):
    """An objective along a path in time, from noise, t = 0, to data, t = 1."""

    time_epsilon: float = option(
        1e-3,
        "t is drawn from (0, 1 - time_epsilon): the loss's weight, or the path's rate, is unbounded at 1",
        (1e-9, 0.5),
    )

    def check_model(self, model: Model) -> None:
        """Any will do."""


@dataclass(frozen=True, kw_only=True)
class Absorbing(Timed):
    """Absorbing diffusion (arXiv:2406.07524): residues turn into masks; the loss is a bound on the likelihood."""

    name: str = option("absorbing", "which objective this is", ("absorbing",))
    schedule: str = option(
        "linear",
        "linear or cosine: how the visible fraction grows from t = 0 (noise) to 1 (data)",
        ("linear", "cosine"),
    )
    weight: str = option(
        "elbo",
        "of the loss at t: elbo (the bound), uniform (1) or linear (the visible fraction)",
        ("elbo", "uniform", "linear"),
    )


@dataclass(frozen=True, kw_only=True)
class FlowMatching(Timed):
    """Discrete flow matching (arXiv:2407.15595): from masks or random residues to proteins along a mixture path."""

    name: str = option("flow_matching", "which objective this is", ("flow_matching",))
    source: str = option(
        "mask", "what t = 0 is made of: mask, or uniform over the 20 canonical residues", ("mask", "uniform")
    )
    loss: str = option(
        "cross_entropy",
        "cross_entropy, or generalised_kl (a bound on the likelihood)",
        ("cross_entropy", "generalised_kl"),
    )
    schedule: str = option("linear", "linear, cosine, polynomial:N or cubic:A:B (arXiv:2407.15595)")

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_schedule(self.schedule)  # refuses what is none

    def check_model(self, model: Model) -> None:
        """Random residues do not show the time."""
        if self.source == "uniform" and not model.time_conditioning:
            raise ValueError(
                "objective.source=uniform: needs model.time_conditioning=true, as what a residue is worth depends on t"
            )


@dataclass(frozen=True, kw_only=True)
class MaskedLM(Objective):
    """Masked language modelling as in ESM: guess a chosen share of the residues from the others."""

    name: str = option("mlm", "which objective this is", ("mlm",))
    mask_probability: float = option(0.15, "share of the residues that is chosen and predicted", (0.001, 1.0))
    mask_fraction: float = option(0.8, "of the chosen: become a mask", (0.0, 1.0))
    random_fraction: float = option(0.1, "of the chosen: become a random canonical residue; the rest stay", (0.0, 1.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        between(
            "objective.mask_fraction + objective.random_fraction", self.mask_fraction + self.random_fraction, 0.0, 1.0
        )


NUMBERS_OF_SCHEDULES = {"linear": 0, "cosine": 0, "polynomial": 1, "cubic": 2}
EXPONENTS = (0.01, 100.0)
"""Of polynomial schedules: with others kappa is 0 or 1 at nearly all times."""


def parse_schedule(text: str) -> tuple[str, list[float]]:
    """The kind of a schedule, and its numbers: of linear, cosine, polynomial:N or cubic:A:B. Raises ValueError."""
    kind, *parts = text.split(":")
    one_of("objective.schedule", kind, tuple(NUMBERS_OF_SCHEDULES))
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not len(numbers) == len(parts) == NUMBERS_OF_SCHEDULES[kind]:
        raise ValueError(f"objective.schedule={text}: write linear, cosine, polynomial:2 or cubic:0:2")
    if kind == "polynomial" and not EXPONENTS[0] <= numbers[0] <= EXPONENTS[1]:
        raise ValueError(f"objective.schedule={text}: the exponent must lie between {EXPONENTS[0]} and {EXPONENTS[1]}")
    if kind == "cubic" and not _rises(*numbers):
        raise ValueError(f"objective.schedule={text}: kappa must not fall anywhere in [0, 1]")
    return kind, numbers


def _rises(a: float, b: float) -> bool:
    """Whether the cubic kappa with slopes a at 0 and b at 1 never falls.

    Its derivative is q t^2 + p t + a, which is lowest at one of the ends, or in between at -p / 2q.
    """
    q, p = 3 * (a + b - 2), 6 - 4 * a - 2 * b
    lowest = a - p * p / (4 * q) if 0 < -p < 2 * q else min(a, b)
    return a >= 0 and b >= 0 and lowest >= -1e-12 and math.isfinite(a + b)


OBJECTIVES: dict[str, type[Objective]] = {"absorbing": Absorbing, "flow_matching": FlowMatching, "mlm": MaskedLM}
