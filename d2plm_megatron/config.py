"""A recipe: everything that says what a run is, in frozen dataclasses that refuse what cannot work.

Every field carries its help text; `python recipes/NAME.py --help` prints them all. Checks name the key as a user would
type it (`train.max_steps`), the value, and what is allowed.
"""

import difflib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from d2plm_megatron import alphabet


def option(default: Any, text: str) -> Any:
    """A field with a default and a help text."""
    return field(default=default, metadata={"help": text})


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError, with the nearest allowed word, unless value is one of them."""
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{key}={value}: allowed are {', '.join(allowed)}{hint}")


def at_least(key: str, value: float | None, minimum: float) -> None:
    """Raises ValueError unless value is None or at least the minimum."""
    if value is not None and not value >= minimum:
        raise ValueError(f"{key}={value}: must be at least {minimum}")


def between(key: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{key}={value}: must lie between {low} and {high}")


CLUSTERS_ENDING = ".clusters.npy"


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
    max_length_residues: int = option(1022, "longer proteins are cropped to this, at a new place in each epoch")
    tokens_per_pack: int = option(16384, "tokens of a micro-batch: proteins are packed end to end up to it")
    window_proteins: int = option(8192, "proteins looked at together when packing; more pack tighter")

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
        _ = self.sources  # refuses what it cannot read
        at_least("data.max_length_residues", self.max_length_residues, 1)
        at_least("data.window_proteins", self.window_proteins, 1)
        if self.tokens_per_pack < self.max_length_residues + 2:
            raise ValueError(
                f"data.tokens_per_pack={self.tokens_per_pack}: must be at least data.max_length_residues + 2 "
                f"({self.max_length_residues + 2}), so that the longest protein fits with its two end tokens"
            )


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
            weight = Fraction(text)
        except (ValueError, ZeroDivisionError):
            weight = Fraction(0)
        if not prefix or weight <= 0:
            raise ValueError(f"data.train={train}: write every corpus as PREFIX:WEIGHT, with a weight above 0")
        if prefix in weights:
            raise ValueError(f"data.train={train}: names {prefix} twice; give it the sum of its weights")
        weights[prefix] = weight
    return weights


@dataclass(frozen=True, kw_only=True)
class Model:
    """The encoder."""

    num_layers: int = option(24, "transformer layers")
    hidden_size: int = option(1024, "width of the residual stream")
    num_attention_heads: int = option(16, "attention heads; must divide hidden_size")
    ffn_hidden_size: int = option(4096, "width inside the feed-forward block")
    activation: str = option("swiglu", "swiglu (gated) or gelu (ESM-2's)")
    normalization: str = option("rmsnorm", "rmsnorm or layernorm (ESM-2's)")
    bias: bool = option(False, "biases in the linear layers (ESM-2 has them)")
    head: str = option("linear", "linear, or esm: dense, GELU, LayerNorm and the tied embedding")
    time_conditioning: bool = option(False, "adaLN-zero: every layer sees the time t of its protein")
    init_std: float = option(0.02, "standard deviation of the initial weights")
    layer_spec: str = option("auto", "kernels: te (Transformer Engine), torch, or auto (te where it can run)")

    def __post_init__(self) -> None:
        for name in ("num_layers", "hidden_size", "num_attention_heads", "ffn_hidden_size"):
            at_least(f"model.{name}", getattr(self, name), 1)
        between("model.init_std", self.init_std, 1e-6, 10.0)
        one_of("model.activation", self.activation, ("swiglu", "gelu"))
        one_of("model.normalization", self.normalization, ("rmsnorm", "layernorm"))
        one_of("model.head", self.head, ("linear", "esm"))
        one_of("model.layer_spec", self.layer_spec, ("auto", "te", "torch"))
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"model.num_attention_heads={self.num_attention_heads}: "
                f"must divide model.hidden_size={self.hidden_size}"
            )
        if self.hidden_size // self.num_attention_heads % 2:
            raise ValueError(
                f"model.hidden_size={self.hidden_size}: the size of a head, hidden_size / num_attention_heads = "
                f"{self.hidden_size // self.num_attention_heads}, must be even for rotary positions"
            )


def _esm2(num_layers: int, hidden_size: int, num_attention_heads: int) -> Model:
    return Model(
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_attention_heads=num_attention_heads,
        ffn_hidden_size=4 * hidden_size,
        activation="gelu",
        normalization="layernorm",
        bias=True,
        head="esm",
    )


MODEL_SIZES: dict[str, Model] = {
    "tiny": Model(num_layers=4, hidden_size=128, num_attention_heads=8, ffn_hidden_size=344, init_std=0.08),
    "450m": Model(),
    "450m_time": Model(time_conditioning=True),
    "esm2_8m": _esm2(6, 320, 20),
    "esm2_35m": _esm2(12, 480, 20),
    "esm2_150m": _esm2(30, 640, 20),
    "esm2_650m": _esm2(33, 1280, 20),
    "esm2_3b": _esm2(36, 2560, 40),
    "esm2_15b": _esm2(48, 5120, 40),
}
"""Named sizes, chosen with `model=NAME`. The esm2_ ones have ESM-2's exact architecture and parameter count."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What the encoder learns; one of the subclasses, chosen with `objective=NAME`."""

    name: str = option("", "which objective this is")


@dataclass(frozen=True, kw_only=True)
class Absorbing(Objective):
    """Absorbing diffusion (arXiv:2406.07524): residues turn into masks; the loss is a bound on the likelihood."""

    name: str = option("absorbing", "which objective this is")
    schedule: str = option("linear", "linear or cosine: how the visible fraction grows from t = 0 (noise) to 1 (data)")
    weight: str = option("elbo", "of the loss at t: elbo (the bound), uniform (1) or linear (the visible fraction)")
    time_epsilon: float = option(1e-3, "t is drawn from (0, 1 - time_epsilon): the weight is unbounded at 1")

    def __post_init__(self) -> None:
        one_of("objective.name", self.name, ("absorbing",))
        one_of("objective.schedule", self.schedule, ("linear", "cosine"))
        one_of("objective.weight", self.weight, ("elbo", "uniform", "linear"))
        between("objective.time_epsilon", self.time_epsilon, 1e-9, 0.5)


@dataclass(frozen=True, kw_only=True)
class FlowMatching(Objective):
    """Discrete flow matching (arXiv:2407.15595): from masks or random residues to proteins along a mixture path."""

    name: str = option("flow_matching", "which objective this is")
    source: str = option("mask", "what t = 0 is made of: mask, or uniform over the 20 canonical residues")
    loss: str = option("cross_entropy", "cross_entropy, or generalised_kl (a bound on the likelihood)")
    schedule: str = option("linear", "linear, cosine, polynomial:N or cubic:A:B (arXiv:2407.15595)")
    time_epsilon: float = option(1e-3, "t is drawn from (0, 1 - time_epsilon): the rate is unbounded at 1")

    def __post_init__(self) -> None:
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
        between("objective.time_epsilon", self.time_epsilon, 1e-9, 0.5)


@dataclass(frozen=True, kw_only=True)
class MaskedLM(Objective):
    """Masked language modelling as in ESM: guess a chosen share of the residues from the others."""

    name: str = option("mlm", "which objective this is")
    mask_probability: float = option(0.15, "share of the residues that is chosen and predicted")
    mask_share: float = option(0.8, "of the chosen: become a mask")
    random_share: float = option(0.1, "of the chosen: become a random canonical residue; the rest stay")

    def __post_init__(self) -> None:
        one_of("objective.name", self.name, ("mlm",))
        between("objective.mask_probability", self.mask_probability, 0.001, 1.0)
        between("objective.mask_share", self.mask_share, 0.0, 1.0)
        between("objective.random_share", self.random_share, 0.0, 1.0)
        between("objective.mask_share + objective.random_share", self.mask_share + self.random_share, 0.0, 1.0)


OBJECTIVES: dict[str, type[Objective]] = {"absorbing": Absorbing, "flow_matching": FlowMatching, "mlm": MaskedLM}


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW, with warm-up, then cosine to a floor, then flat."""

    learning_rate: float = option(4e-4, "highest learning rate, reached after warmup_steps")
    warmup_steps: int = option(2000, "steps of linear warm-up from 0")
    decay_steps: int | None = option(None, "step at which the floor is reached (default: train.max_steps)")
    floor_ratio: float = option(0.1, "floor of the learning rate, as a share of learning_rate")
    beta1: float = option(0.9, "decay of the first moment")
    beta2: float = option(0.98, "decay of the second moment")
    epsilon: float = option(1e-8, "added to the root of the second moment")
    weight_decay: float = option(0.01, "decoupled; not on norms and biases")
    clip_norm: float = option(1.0, "gradients are scaled down to this global norm; 0 does not clip")

    def __post_init__(self) -> None:
        at_least("optimizer.learning_rate", self.learning_rate, 0.0)
        at_least("optimizer.warmup_steps", self.warmup_steps, 0)
        at_least("optimizer.decay_steps", self.decay_steps, self.warmup_steps)
        between("optimizer.epsilon", self.epsilon, 1e-15, 1.0)
        at_least("optimizer.weight_decay", self.weight_decay, 0.0)
        at_least("optimizer.clip_norm", self.clip_norm, 0.0)
        between("optimizer.floor_ratio", self.floor_ratio, 0.0, 1.0)
        between("optimizer.beta1", self.beta1, 0.0, 0.99999)
        between("optimizer.beta2", self.beta2, 0.0, 0.9999999)


@dataclass(frozen=True, kw_only=True)
class Average:
    """Exponential moving average of the weights, in fp32, that is evaluated, sampled and exported."""

    decay: float = option(0.9999, "of the old average at each step")
    ramp: bool = option(True, "start lower: decay at step n is at most (1 + n) / (10 + n)")

    def __post_init__(self) -> None:
        between("average.decay", self.decay, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Train:
    """How long, how much, and what is kept."""

    max_steps: int = option(100_000, "optimizer steps")
    global_batch_tokens: int = option(
        524_288, "tokens of an optimizer step, over all ranks; a multiple of tokens_per_pack"
    )
    rehearsal_pack_tokens: int | None = option(
        2048, "without a GPU: one pack of this many tokens per rank and step, to try the recipe; null trains in full"
    )
    precision: str = option("bf16", "bf16 (with fp32 main weights) or fp32")
    seed: int = option(0, "of weights, data order and noise")
    log_every_steps: int = option(10, "steps between progress lines")
    save_every_steps: int = option(1000, "steps between checkpoints")
    keep_last: int = option(3, "checkpoints kept, beside the best")
    background_save: bool = option(True, "write checkpoints while training goes on, from a copy in the CPU's memory")
    max_skipped_steps: int = option(
        10, "stop after this many steps in a row with a loss or gradient that is not finite"
    )
    resume: str = option(
        "auto", "auto continues from the newest checkpoint of the run; never starts anew in an empty run"
    )

    def __post_init__(self) -> None:
        for name in (
            "max_steps",
            "global_batch_tokens",
            "log_every_steps",
            "save_every_steps",
            "keep_last",
            "max_skipped_steps",
        ):
            at_least(f"train.{name}", getattr(self, name), 1)
        at_least("train.rehearsal_pack_tokens", self.rehearsal_pack_tokens, 64)
        one_of("train.precision", self.precision, ("bf16", "fp32"))
        one_of("train.resume", self.resume, ("auto", "never"))


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Validation while training, on the averaged weights, and when to stop."""

    every_steps: int = option(1000, "steps between evaluations")
    max_proteins: int = option(2048, "proteins of the validation set that are looked at")
    patience: int | None = option(
        None, "stop after this many evaluations in a row without improvement (default: never)"
    )
    threshold: float = option(
        0.001, "an improvement is a validation loss lower than the best by more than this, in nats"
    )

    def __post_init__(self) -> None:
        at_least("evaluate.every_steps", self.every_steps, 1)
        at_least("evaluate.max_proteins", self.max_proteins, 1)
        at_least("evaluate.patience", self.patience, 1)
        at_least("evaluate.threshold", self.threshold, 0.0)


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """How the model is spread over processes. What is left over is data parallel."""

    tensor: int = option(1, "processes that share each layer (inside a node)")
    sequence: bool = option(False, "also split norms and residuals along the tokens, between tensor-parallel processes")
    pipeline: int = option(1, "processes that share the layers, one after the other")
    sharding: str = option("optimizer", "over data-parallel ranks: none, optimizer (state), or parameters (FSDP)")
    timeout_s: int = option(600, "how long processes wait for one another before they give up")

    def __post_init__(self) -> None:
        at_least("parallel.tensor", self.tensor, 1)
        at_least("parallel.pipeline", self.pipeline, 1)
        at_least("parallel.timeout_s", self.timeout_s, 1)
        one_of("parallel.sharding", self.sharding, ("none", "optimizer", "parameters"))
        if self.sequence and self.tensor == 1:
            raise ValueError("parallel.sequence=true: needs parallel.tensor of at least 2")
        if self.sharding == "parameters" and self.pipeline > 1:
            raise ValueError("parallel.sharding=parameters: cannot be combined with parallel.pipeline; use optimizer")


@dataclass(frozen=True, kw_only=True)
class Track:
    """Weights & Biases, beside metrics.jsonl, which is always written."""

    wandb: bool = option(False, "log to Weights & Biases (pip install 'd2plm-megatron[track]')")
    project: str = option("d2plm", "its project")
    offline: bool = option(True, "write to disk only; upload later with `wandb sync`")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run, whole."""

    name: str = option("run", "of the run and its folder")
    output: str = option("runs", "folder of all runs; this one is OUTPUT/NAME")
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Absorbing)
    optimizer: Optimizer = field(default_factory=Optimizer)
    average: Average = field(default_factory=Average)
    train: Train = field(default_factory=Train)
    evaluate: Evaluate = field(default_factory=Evaluate)
    parallel: Parallel = field(default_factory=Parallel)
    track: Track = field(default_factory=Track)

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or "/" in self.name:
            raise ValueError(f"name={self.name!r}: must be the name of one folder")
        self._check_model()
        if self.train.global_batch_tokens % self.data.tokens_per_pack:
            raise ValueError(
                f"train.global_batch_tokens={self.train.global_batch_tokens}: must be a multiple of "
                f"data.tokens_per_pack={self.data.tokens_per_pack}"
            )

    def _check_model(self) -> None:
        split = self.parallel.tensor
        for key in ("num_attention_heads", "ffn_hidden_size"):
            if getattr(self.model, key) % split:
                raise ValueError(f"parallel.tensor={split}: must divide model.{key}={getattr(self.model, key)}")
        if alphabet.PADDED_SIZE % split:
            raise ValueError(f"parallel.tensor={split}: must divide {alphabet.PADDED_SIZE}, the padded alphabet")
        if self.model.num_layers % self.parallel.pipeline:
            raise ValueError(
                f"parallel.pipeline={self.parallel.pipeline}: must divide model.num_layers={self.model.num_layers}"
            )
        if self.parallel.sequence and self.data.tokens_per_pack % split:
            raise ValueError(f"data.tokens_per_pack={self.data.tokens_per_pack}: must be a multiple of parallel.tensor")
        uniform = isinstance(self.objective, FlowMatching) and self.objective.source == "uniform"
        if uniform and not self.model.time_conditioning:
            raise ValueError(
                "objective.source=uniform: needs model.time_conditioning=true, as what a residue is worth depends on t"
            )
        if self.model.time_conditioning and isinstance(self.objective, MaskedLM):
            raise ValueError("model.time_conditioning=true: objective=mlm has no time; set it to false")
