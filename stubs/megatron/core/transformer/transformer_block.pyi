from collections.abc import Iterable
from dataclasses import dataclass

import torch
from megatron.core.transformer import ModuleSpec, TransformerLayer

@dataclass(kw_only=True)
class TransformerBlockSubmodules:
    layer_specs: list[ModuleSpec] | None = ...
    layer_norm: type | None = ...

class TransformerBlock(torch.nn.Module):
    layers: Iterable[TransformerLayer]
    final_layernorm: torch.nn.Module
