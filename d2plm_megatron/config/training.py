"""How a run is trained: steps, batches, the EMA, checkpoints, validation, processes."""

from dataclasses import dataclass

from d2plm_megatron.config.checks import at_least, check_options, option

STEPS = (1, 10**9)
MONTH_S = 30 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW, whose learning rate warms up, falls to a floor, and stays there."""

    lr: float = option(4e-4, "highest learning rate, reached after warmup_steps", (0.0, 10.0))
    schedule: str = option("cosine", "how the learning rate falls: cosine or linear", ("cosine", "linear"))
    warmup_steps: int | float = option(
        2000, "steps of linear warm-up from 0; below 1 a fraction of train.max_steps", (0, STEPS[1])
    )
    decay_steps: int | float | None = option(
        None,
        "step at which the floor is reached; below 1 a fraction of train.max_steps (default: train.max_steps)",
        (0, STEPS[1]),
    )
    min_lr_ratio: float = option(0.1, "floor of the learning rate, as a fraction of lr", (0.0, 1.0))
    beta1: float = option(0.9, "decay of the first moment", (0.0, 0.99999))
    beta2: float = option(0.98, "decay of the second moment", (0.0, 0.9999999))
    eps: float = option(1e-8, "added to the root of the second moment", (1e-15, 1.0))
    weight_decay: float = option(0.01, "decoupled; not on norms and biases", (0.0, 100.0))
    clip_norm: float = option(1.0, "gradients are scaled down to this global norm; 0 does not clip", (0.0, 1e6))

    def __post_init__(self) -> None:
        check_options(self, "optimizer.")
        _whole_or_fraction("optimizer.warmup_steps", self.warmup_steps)
        if self.decay_steps is not None:
            _whole_or_fraction("optimizer.decay_steps", self.decay_steps)
            if _is_fraction(self.decay_steps) == _is_fraction(self.warmup_steps):
                at_least("optimizer.decay_steps", self.decay_steps, self.warmup_steps)

    def in_steps(self, max_steps: int) -> tuple[int, int]:
        """How long the warm-up is, and at which step the floor is reached, in a run of so many steps."""
        ends = (self.warmup_steps, max_steps if self.decay_steps is None else self.decay_steps)
        warmup, decay = (round(end * max_steps) if _is_fraction(end) else int(end) for end in ends)
        return warmup, decay


def _is_fraction(steps: float) -> bool:
    return 0 < steps < 1


def _whole_or_fraction(key: str, steps: float) -> None:
    if not (_is_fraction(steps) or float(steps).is_integer()):
        raise ValueError(f"{key}={steps}: must be a whole number of steps, or below 1, a fraction of train.max_steps")


@dataclass(frozen=True, kw_only=True)
class EMA:
    """Exponential moving average of the weights, in fp32, that is evaluated, sampled and exported."""

    decay: float = option(0.9999, "of the EMA so far at each step", (0.0, 1.0))
    ramp: bool = option(True, "start lower: decay at step n is at most (1 + n) / (10 + n)")

    def __post_init__(self) -> None:
        check_options(self, "ema.")


@dataclass(frozen=True, kw_only=True)
class Train:
    """How long, how much, and what is kept."""

    max_steps: int = option(100_000, "optimizer steps", STEPS)
    global_batch_tokens: int = option(
        524_288, "tokens of an optimizer step, over all ranks; a multiple of tokens_per_pack", (1, 1 << 32)
    )
    smoke_pack_tokens: int | None = option(
        2048,
        "without a GPU: one pack of this many tokens per rank and step, to try the recipe; null trains in full",
        (64, 1 << 24),
    )
    precision: str = option("bf16", "bf16 (with fp32 main weights) or fp32", ("bf16", "fp32"))
    seed: int = option(0, "of weights, data order and noise", (-(1 << 63), (1 << 63) - 1))
    log_every_steps: int = option(10, "steps between progress lines", STEPS)
    save_every_steps: int = option(1000, "steps between checkpoints", STEPS)
    keep_last: int = option(3, "checkpoints kept, beside the best", STEPS)
    async_save: bool = option(True, "write checkpoints while training goes on, from a copy in the CPU's memory")
    max_skipped_steps: int = option(
        10, "stop after this many steps in a row with a loss or gradient that is not finite", STEPS
    )
    resume: str = option(
        "auto",
        "auto continues from the newest checkpoint of the run, changed also where its data, seed or objective are "
        "others now, never only begins",
        ("auto", "changed", "never"),
    )

    init_from: str | None = option(
        None,
        "run or checkpoint whose weights this run begins with; all but the weights is new (default: drawn by seed)",
    )
    init_weights: str = option("ema", "which weights of train.init_from: ema or raw", ("ema", "raw"))
    trainable: str = option(
        "*",
        "which parameters train, by patterns of their names in checkpoints with spaces between them; those after a ! "
        "do not; the others stay as they are",
    )

    def __post_init__(self) -> None:
        check_options(self, "train.")


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Validation while training, on the EMA of the weights, and when to stop."""

    every_steps: int = option(1000, "steps between validations", STEPS)
    max_proteins: int = option(2048, "proteins of the validation set that are looked at", STEPS)
    patience: int | None = option(
        None, "stop after this many validations in a row without improvement (default: never)", STEPS
    )
    min_delta: float = option(
        0.001, "an improvement is a validation loss lower than the best by more than this, in nats", (0.0, 100.0)
    )

    def __post_init__(self) -> None:
        check_options(self, "validation.")


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """How the model is spread over processes. What is left over is data parallel."""

    tensor: int = option(1, "processes that share each layer (inside a node)", (1, 1024))
    sequence: bool = option(False, "also split norms and residuals along the tokens, between tensor-parallel processes")
    pipeline: int = option(1, "processes that share the layers, one after the other", (1, 1000))
    sharding: str = option(
        "optimizer",
        "over data-parallel ranks: none, optimizer (state), or parameters (FSDP)",
        ("none", "optimizer", "parameters"),
    )
    timeout_s: int = option(600, "how long processes wait for one another before they give up", (1, MONTH_S))

    def __post_init__(self) -> None:
        check_options(self, "parallel.")
        if self.sequence and self.tensor == 1:
            raise ValueError("parallel.sequence=true: needs parallel.tensor of at least 2")
        if self.sharding == "parameters" and self.pipeline > 1:
            raise ValueError("parallel.sharding=parameters: cannot be combined with parallel.pipeline; use optimizer")


@dataclass(frozen=True, kw_only=True)
class Track:
    """Weights & Biases and TensorBoard, beside metrics.jsonl, which is always written."""

    wandb: bool = option(False, "log to Weights & Biases (pip install 'd2plm-megatron[track]')")
    project: str = option("d2plm", "of Weights & Biases")
    entity: str | None = option(None, "of Weights & Biases: a team or a user (default: the user's own)")
    group: str | None = option(None, "of Weights & Biases: runs that belong together")
    tags: str | None = option(None, "of Weights & Biases, with spaces between them")
    offline: bool = option(True, "Weights & Biases on the disk only; upload later with `wandb sync`")
    tensorboard: bool = option(False, "write event files for TensorBoard (pip install 'd2plm-megatron[track]')")

    def __post_init__(self) -> None:
        check_options(self, "track.")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile of some steps; nothing else about the run changes."""

    start_step: int | None = option(
        None, "first step that is profiled, as counted in the log (default: none is)", STEPS
    )
    num_steps: int = option(3, "steps that are profiled", (1, 1000))
    ranks: str = option("0", "processes that are profiled: numbers with spaces between them, or all")
    tool: str = option(
        "torch",
        "torch writes RUN/profile/rankN-....pt.trace.json.gz; nsys marks the steps for `nsys profile`, on GPUs",
        ("torch", "nsys"),
    )

    def __post_init__(self) -> None:
        check_options(self, "profile.")
        if self.ranks != "all" and not all(word.isdecimal() for word in self.ranks.split()):
            raise ValueError(f"profile.ranks={self.ranks}: write numbers with spaces between them, or all")

    def chosen(self, world_size: int) -> set[int]:
        """The ranks that are profiled, of so many."""
        return set(range(world_size)) if self.ranks == "all" else set(map(int, self.ranks.split()))

    def window(self) -> tuple[int, int]:
        """(first, last) step that is profiled."""
        assert self.start_step is not None
        return self.start_step, self.start_step + self.num_steps - 1
