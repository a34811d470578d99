"""What the encoder learns."""

import math
from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.config.checks import between, check_options, one_of, option
from d2plm_megatron.config.model import Model
from d2plm_megatron.proteins import distances
from d2plm_megatron.proteins.distances import BLOSUM62


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
    schedule: str = option(
        "linear", "linear, cosine, polynomial:N, cubic:A:B (arXiv:2407.15595) or odds:C:A (arXiv:2412.03487)"
    )

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
class MetricFlow(Timed):
    """Flow matching along a metric-induced path (arXiv:2412.03487): noise passes through similar residues."""

    name: str = option("metric_flow", "which objective this is", ("metric_flow",))
    distance: str = option(
        BLOSUM62,
        "between residues: blosum62, or a file of 20 embeddings (.csv, .safetensors), kept as the 190 distances in it",
    )
    power: float = option(
        1.0, "to which the distance is raised; 1 has the tightest bound on the likelihood", (0.1, 4.0)
    )
    loss: str = option("cross_entropy", "cross_entropy, or elbo (a bound on the likelihood)", ("cross_entropy", "elbo"))
    schedule: str = option(
        "odds:3:0.9",
        "kappa, whose odds are how sharply noise keeps to similar residues; as for flow_matching. "
        "odds:C:A is beta = C (t / (1 - t))^A",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_schedule(self.schedule)  # refuses what is none
        object.__setattr__(self, "distance", self._kept())

    def check_model(self, model: Model) -> None:
        """Residues do not show how far they are from where they will be."""
        if not model.time_conditioning:
            raise ValueError(
                "objective=metric_flow: needs model.time_conditioning=true, as what a residue is worth depends on t"
            )

    def distances(self) -> distances.Distance:
        """Between the canonical residues, raised to the power."""
        found = distances.blosum62() if self.distance == BLOSUM62 else distances.from_text(self.distance)
        assert found is not None, "checked at the beginning"
        return distances.to_power(found, self.power)

    def _kept(self) -> str:
        """The distance by its content, so that a run and its checkpoints need no other file."""
        if self.distance == BLOSUM62 or distances.from_text(self.distance) is not None:
            return self.distance
        try:
            return distances.as_text(distances.between_embeddings(Path(self.distance)))
        except OSError as error:
            raise ValueError(
                f"objective.distance={self.distance}: cannot be read ({error.strerror or error}); give blosum62, "
                "or a file of 20 embeddings"
            ) from None
        except ValueError as error:
            raise ValueError(f"objective.distance={error}") from None


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


NUMBERS_OF_SCHEDULES = {"linear": 0, "cosine": 0, "polynomial": 1, "cubic": 2, "odds": 2}
EXPONENTS = (0.01, 100.0)
"""Of polynomial schedules, and of odds: with others kappa is 0 or 1 at nearly all times."""


def parse_schedule(text: str) -> tuple[str, list[float]]:
    """The kind of a schedule, and its numbers, of what `FlowMatching.schedule` may be. Raises ValueError."""
    kind, *parts = text.split(":")
    one_of("objective.schedule", kind, tuple(NUMBERS_OF_SCHEDULES))
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not len(numbers) == len(parts) == NUMBERS_OF_SCHEDULES[kind]:
        raise ValueError(f"objective.schedule={text}: write linear, cosine, polynomial:2, cubic:0:2 or odds:3:0.9")
    if kind in ("polynomial", "odds") and not EXPONENTS[0] <= numbers[-1] <= EXPONENTS[1]:
        raise ValueError(f"objective.schedule={text}: the exponent must lie between {EXPONENTS[0]} and {EXPONENTS[1]}")
    if kind == "odds" and not 1e-3 <= numbers[0] <= 1e3:
        raise ValueError(f"objective.schedule={text}: the factor of the odds must lie between 0.001 and 1000")
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


OBJECTIVES: dict[str, type[Objective]] = {
    "absorbing": Absorbing,
    "flow_matching": FlowMatching,
    "metric_flow": MetricFlow,
    "mlm": MaskedLM,
}
