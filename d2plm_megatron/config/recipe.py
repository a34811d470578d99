"""All parts together, and the checks between them."""

import os
from dataclasses import dataclass, field

from d2plm_megatron.config.checks import check_options, nearest_multiple, option
from d2plm_megatron.config.data import Data
from d2plm_megatron.config.model import Model
from d2plm_megatron.config.objective import Absorbing, Objective
from d2plm_megatron.config.parameters import trained
from d2plm_megatron.config.training import EMA, Optimizer, Parallel, Profile, Track, Train, Validation
from d2plm_megatron.proteins import alphabet

LONGEST_NAME = 200
"""A file system takes 255, of which a suffix may need some."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run, whole."""

    name: str = option("run", "of the run and its folder: auto, or a template such as {recipe}-{optimizer.lr}")
    output: str = option("runs", "folder of all runs; this one is OUTPUT/NAME")
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Absorbing)
    optimizer: Optimizer = field(default_factory=Optimizer)
    ema: EMA = field(default_factory=EMA)
    train: Train = field(default_factory=Train)
    validation: Validation = field(default_factory=Validation)
    parallel: Parallel = field(default_factory=Parallel)
    track: Track = field(default_factory=Track)
    profile: Profile = field(default_factory=Profile)

    def __post_init__(self) -> None:
        check_options(self)
        if self.name in (".", "..") or "/" in self.name or len(os.fsencode(self.name)) > LONGEST_NAME:
            raise ValueError(f"name={self.name}: must be the name of one folder, of {LONGEST_NAME} bytes at most")
        self._check_model()
        trained(self.model, self.train.trainable)
        tokens, pack = self.train.global_batch_tokens, self.data.tokens_per_pack
        if tokens % pack:
            raise ValueError(
                f"train.global_batch_tokens={tokens}: must be a multiple of data.tokens_per_pack={pack}; "
                f"set train.global_batch_tokens={nearest_multiple(tokens, pack)}"
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
        self.objective.check_model(self.model)
