from dataclasses import dataclass

from megatron.core.transformer import ModuleSpec

@dataclass(kw_only=True)
class TransformerBlockSubmodules:
    layer_specs: list[ModuleSpec] | None = ...
    layer_norm: type | None = ...
