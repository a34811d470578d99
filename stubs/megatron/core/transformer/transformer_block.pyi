from dataclasses import dataclass

import torch
from megatron.core.transformer import ModuleSpec

@dataclass(kw_only=True)
class TransformerBlockSubmodules:
    layer_specs: list[ModuleSpec] | None = ...
    layer_norm: type | None = ...

class TransformerBlock(torch.nn.Module):
    layers: torch.nn.ModuleList
    final_layernorm: torch.nn.Module
