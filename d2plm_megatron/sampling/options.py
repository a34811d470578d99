"""The samplers by name, each with its options, as they are typed: sampler=p2 sampler.eta=0.5. No torch is needed."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from d2plm_megatron.config.checks import check_options, nearest, one_of, option
from d2plm_megatron.config.overrides import typed_value
from d2plm_megatron.proteins.alphabet import NUM_CANONICAL

MASK, UNIFORM, MIXTURE, JUMPS = "masks", "random residues", "an own source", "a metric path"
"""What a path can start from, as far as samplers tell it apart."""


@dataclass(frozen=True, kw_only=True)
class SamplerOptions:
    """What all samplers have in common; by itself, the sampler that suits the path that the model was trained along.

    `str` gives all that differs from the defaults, as it is typed.
    """

    fits: ClassVar[tuple[str, ...]] = (MASK, UNIFORM, MIXTURE, JUMPS)
    name: str = option("auto", "exact from masks, bridge from random residues, euler on a metric path", ("auto",))
    grid: str = option("t", "steps are even in t, or in kappa, the share of data", ("t", "kappa"))
    temperature_schedule: str = option(
        "constant",
        "of the temperature: constant, or quadratic, times (1 - t)^2 (arXiv:2407.15595)",
        ("constant", "quadratic"),
    )
    top_p: float = option(1.0, "draw from the fewest residues that hold this share of the probability", (0.01, 1.0))
    top_k: int = option(NUM_CANONICAL, "draw from so many of the likeliest residues", (1, NUM_CANONICAL))

    def __post_init__(self) -> None:
        check_options(self, "sampler.")

    def __str__(self) -> str:
        changed = [
            f"sampler.{item.name}={value:g}" if isinstance(value, float) else f"sampler.{item.name}={value}"
            for item in dataclasses.fields(self)
            if item.name != "name" and (value := getattr(self, item.name)) != item.default
        ]
        return " ".join([f"sampler={self.name}", *changed])


@dataclass(frozen=True, kw_only=True)
class Exact(SamplerOptions):
    """Each residue jumps with the path's own chance over a step, to a draw from the posterior."""

    fits: ClassVar[tuple[str, ...]] = (MASK, UNIFORM, MIXTURE)
    name: str = option("exact", "which sampler this is", ("exact",))


@dataclass(frozen=True, kw_only=True)
class Bridge(SamplerOptions):
    """Residues are drawn from q(x_s | x_t, x1), x1 from the posterior: what the bound on the likelihood describes."""

    fits: ClassVar[tuple[str, ...]] = (UNIFORM,)
    name: str = option("bridge", "which sampler this is", ("bridge",))


@dataclass(frozen=True, kw_only=True)
class Euler(SamplerOptions):
    """Each residue jumps at the path's rates, held over a step: for any path."""

    name: str = option("euler", "which sampler this is", ("euler",))


@dataclass(frozen=True, kw_only=True)
class _Ordered(SamplerOptions):
    """The path says how many masks of a protein are filled in a step, the model which."""

    fits: ClassVar[tuple[str, ...]] = (MASK,)
    noise: float = option(0.0, "Gumbel noise in the order, times 1 - t; much of it is a random order", (0.0, 1e6))


@dataclass(frozen=True, kw_only=True)
class Confidence(_Ordered):
    """Masks are filled in the order of the greatest probability, as many as the path expects."""

    name: str = option("confidence", "which sampler this is", ("confidence",))


@dataclass(frozen=True, kw_only=True)
class Margin(_Ordered):
    """Masks are filled in the order of the distance between the two greatest probabilities."""

    name: str = option("margin", "which sampler this is", ("margin",))


@dataclass(frozen=True, kw_only=True)
class Entropy(_Ordered):
    """Masks are filled in the order of the least entropy."""

    name: str = option("entropy", "which sampler this is", ("entropy",))


@dataclass(frozen=True, kw_only=True)
class P2(SamplerOptions):
    """Path planning: the least likely residues are masked again, be they old or new (arXiv:2502.03540)."""

    fits: ClassVar[tuple[str, ...]] = (MASK,)
    name: str = option("p2", "which sampler this is", ("p2",))
    eta: float = option(1.0, "how readily what stands there is masked again; 0 is never", (0.0, 1e3))


@dataclass(frozen=True, kw_only=True)
class ReMDM(SamplerOptions):
    """Residues are masked again at the rate sigma, with the marginals of the path kept (arXiv:2503.00307)."""

    fits: ClassVar[tuple[str, ...]] = (MASK,)
    name: str = option("remdm", "which sampler this is", ("remdm",))
    strategy: str = option("cap", "what sigma is: cap, rescale or confidence", ("cap", "rescale", "confidence"))
    eta: float = option(0.02, "cap: sigma at most; rescale, confidence: sigma as a share of the greatest", (0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Corrector(SamplerOptions):
    """Each step goes too far and is noised back: forward and backward velocities together (arXiv:2407.15595)."""

    fits: ClassVar[tuple[str, ...]] = (MASK, UNIFORM, MIXTURE)
    name: str = option("corrector", "which sampler this is", ("corrector",))
    strength: float = option(1.0, "a in the backward velocity a t^(1/4) (1 - t)^(1/4)", (0.0, 1e3))


@dataclass(frozen=True, kw_only=True)
class Adaptive(SamplerOptions):
    """As many masks are filled at once as a bound allows; --steps is how often the model is asked at most."""

    fits: ClassVar[tuple[str, ...]] = (MASK,)
    name: str = option("adaptive", "which sampler this is", ("adaptive",))
    criterion: str = option(
        "entropy",
        "entropy: of the joint error (arXiv:2505.24857); confidence: of each residue's doubt (arXiv:2505.22618)",
        ("entropy", "confidence"),
    )
    bound: float = option(0.1, "in nats for entropy, and 1 - the greatest probability for confidence", (0.0, 1e6))


SAMPLERS: dict[str, type[SamplerOptions]] = {
    kind().name: kind
    for kind in (SamplerOptions, Exact, Bridge, Euler, Confidence, Margin, Entropy, P2, ReMDM, Corrector, Adaptive)
}
"""By the word after sampler=."""

AUTO = SamplerOptions()
"""The one that suits."""

DEFAULTS: dict[str, SamplerOptions] = {MASK: Exact(), UNIFORM: Bridge(), MIXTURE: Exact(), JUMPS: Euler()}
"""What AUTO is."""


def sampler_options(overrides: Sequence[str]) -> SamplerOptions:
    """The sampler that the user typed, such as ["sampler=p2", "sampler.eta=0.5"], in Hydra's grammar.

    Raises ValueError naming what is no override, an unknown sampler or option, or a value that is not allowed.
    """
    typed: dict[str, str] = {}
    for key, text in map(_split, overrides):
        if key in typed:
            raise ValueError(f"{key}={text}: {key} is given twice")
        typed[key] = text
    name = typed.pop("sampler", "auto")
    one_of("sampler", name, tuple(SAMPLERS))
    kinds = {f"sampler.{item.name}": item.type for item in options_of(SAMPLERS[name])}
    for key in typed:
        if key not in kinds:
            raise ValueError(_unknown(key, name, kinds))
    return SAMPLERS[name](**{key.partition(".")[2]: typed_value(key, text, kinds[key]) for key, text in typed.items()})


def described() -> str:
    """All samplers and their options, for --help."""
    shared = {item.name for item in options_of(SamplerOptions)}
    own = {
        name: [_described(item) for item in options_of(kind) if item.name not in shared]
        for name, kind in SAMPLERS.items()
        if name != "auto"
    }
    samplers = [f"{name} ({'; '.join(texts)})" if texts else name for name, texts in own.items()]
    return f"{', '.join(samplers)}; of all: {'; '.join(map(_described, options_of(SamplerOptions)))}"


def _described(item: dataclasses.Field) -> str:
    return f"sampler.{item.name}={item.default}: {item.metadata['help']}"


def options_of(kind: type[SamplerOptions]) -> Iterator[dataclasses.Field]:
    """The options of a sampler, its name left out."""
    return (item for item in dataclasses.fields(kind) if item.name != "name")


def for_path(options: SamplerOptions, start: str) -> SamplerOptions:
    """The sampler that is meant: for "auto" the one that suits. Raises ValueError, naming those that fit, for others.

    Args:
        options: as typed.
        start: what the path starts from, one of the words above.
    """
    if start not in options.fits:
        fitting = ", ".join(name for name, kind in SAMPLERS.items() if start in kind.fits and name != "auto")
        raise ValueError(f"sampler={options.name}: does not fit a model that starts from {start}; take {fitting}")
    if options.name != "auto":
        return options
    shared = {item.name: getattr(options, item.name) for item in options_of(SamplerOptions)}
    return dataclasses.replace(DEFAULTS[start], **shared)


def _split(override: str) -> tuple[str, str]:
    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"{override}: not an option of the sampler; write sampler=p2 sampler.eta=0.5")
    return key, text


def _unknown(key: str, name: str, known: Iterable[str]) -> str:
    owners = [other for other, kind in SAMPLERS.items() if key in {f"sampler.{item.name}" for item in options_of(kind)}]
    if owners:
        return f"{key}: no such option of sampler={name}; it belongs to {', '.join(f'sampler={o}' for o in owners)}"
    near = nearest(key, [*known, "sampler"]) if key.startswith("sampler.") else None
    hint = f"did you mean {near}?" if near else f"allowed are {', '.join(['sampler', *known])}"
    return f"{key}: no such option of sampler={name}; {hint}"
