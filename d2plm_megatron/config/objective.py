"""What the encoder learns."""

from dataclasses import dataclass

from d2plm_megatron.config.checks import between, check_options, one_of, option


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What the encoder learns; one of the subclasses, chosen with `objective=NAME`."""

    name: str = option("", "which objective this is")

    def __post_init__(self) -> None:
        check_options(self, "objective.")


@dataclass(frozen=True, kw_only=True)
class Timed(Objective):
    """An objective along a path in time, from noise, t = 0, to data, t = 1."""

    time_epsilon: float = option(
        1e-3,
        "t is drawn from (0, 1 - time_epsilon): the loss's weight, or the path's rate, is unbounded at 1",
        (1e-9, 0.5),
    )


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

    name: str = option("flow_matching", "which objective this is")
    source: str = option("mask", "what t = 0 is made of: mask, or uniform over the 20 canonical residues")
    loss: str = option("cross_entropy", "cross_entropy, or generalised_kl (a bound on the likelihood)")
    schedule: str = option("linear", "linear, cosine, polynomial:N or cubic:A:B (arXiv:2407.15595)")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("objective.name", self.name, ("flow_matching",))
        one_of("objective.source", self.source, ("mask", "uniform"))
        one_of("objective.loss", self.loss, ("cross_entropy", "generalised_kl"))
        kind, _, numbers = self.schedule.partition(":")
        one_of("objective.schedule", kind, ("linear", "cosine", "polynomial", "cubic"))
        expected = {"polynomial": 1, "cubic": 2}.get(kind, 0)
        try:
            given = [float(number) for number in numbers.split(":")] if numbers else []
        except ValueError:
            given = []
        if len(given) != expected:
            raise ValueError(f"objective.schedule={self.schedule}: write linear, cosine, polynomial:2 or cubic:0:2")


@dataclass(frozen=True, kw_only=True)
class MaskedLM(Objective):
    """Masked language modelling as in ESM: guess a chosen share of the residues from the others."""

    name: str = option("mlm", "which objective this is", ("mlm",))
    mask_probability: float = option(0.15, "share of the residues that is chosen and predicted", (0.001, 1.0))
    mask_share: float = option(0.8, "of the chosen: become a mask", (0.0, 1.0))
    random_share: float = option(0.1, "of the chosen: become a random canonical residue; the rest stay", (0.0, 1.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        between("objective.mask_share + objective.random_share", self.mask_share + self.random_share, 0.0, 1.0)


OBJECTIVES: dict[str, type[Objective]] = {"absorbing": Absorbing, "flow_matching": FlowMatching, "mlm": MaskedLM}
