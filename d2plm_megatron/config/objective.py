"""What the encoder learns."""

from dataclasses import dataclass
from pathlib import Path

from d2plm_megatron.config.checks import between, check_options, option
from d2plm_megatron.config.model import Model
from d2plm_megatron.config.schedules import check_ends
from d2plm_megatron.proteins import distances
from d2plm_megatron.proteins.distances import BLOSUM62

POSTERIOR = (
    "what the logits are of: direct, p(x1 | x_t); or bayes, what the other residues say, to which the path's own "
    "log q(x_t | x1) is added"
)


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
    posterior: str = option("direct", POSTERIOR, ("direct", "bayes"))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ends(self.schedule, self.time_epsilon)
        if self.source == "mask" and self.posterior == "bayes":
            raise ValueError(
                "objective.posterior=bayes: a mask says nothing of what it was, so that nothing would be added; "
                "leave it direct, or take objective.source=uniform"
            )

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
    posterior: str = option("direct", POSTERIOR, ("direct", "bayes"))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ends(self.schedule, self.time_epsilon)
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


OBJECTIVES: dict[str, type[Objective]] = {
    "absorbing": Absorbing,
    "flow_matching": FlowMatching,
    "metric_flow": MetricFlow,
    "mlm": MaskedLM,
}
