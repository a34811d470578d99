"""Which kernels: the one switch between Transformer Engine and plain torch.

Megatron builds a layer from a spec that names the class of each part. Both specs give the same layer, with the same
checkpoint. This is the only place that knows of Transformer Engine.
"""

from typing import Any

import torch

from d2plm_megatron.config import Model
from d2plm_megatron.model.activation import swiglu
from d2plm_megatron.model.attention import PackedAttention
from d2plm_megatron.model.time_conditioning import ConditionedLayer
from d2plm_megatron.parallel.megatron import (
    HAVE_TE,
    MLP,
    AttnMaskType,
    ColumnParallelLinear,
    IdentityOp,
    MLPSubmodules,
    ModuleSpec,
    RowParallelLinear,
    SelfAttention,
    SelfAttentionSubmodules,
    TEColumnParallelLinear,
    TEDotProductAttention,
    TELayerNormColumnParallelLinear,
    TENorm,
    TERowParallelLinear,
    TransformerBlockSubmodules,
    TransformerConfig,
    TransformerLayer,
    TransformerLayerSubmodules,
    get_bias_dropout_add,
)
from d2plm_megatron.parallel.megatron.modules import mark_sequence_parallel

FUSED_NORMS = {
    "input_layernorm.": "self_attention.linear_qkv.layer_norm_",
    "pre_mlp_layernorm.": "mlp.linear_fc1.layer_norm_",
}
"""Transformer Engine keeps a norm inside the linear layer that follows it; checkpoints use its names."""


def choose(wanted: str, precision: str) -> str:
    """Either "te" or "torch".

    Args:
        wanted: model.backend of the recipe.
        precision: train.precision; in fp32 Transformer Engine's attention holds a whole matrix of all tokens of a pack
            with one another, in every layer.

    Raises ValueError when the recipe asks for Transformer Engine where it cannot run.
    """
    missing = _missing(precision)
    if wanted == "te" and missing:
        raise ValueError(f"model.backend=te: {missing}; use auto or torch")
    return wanted if wanted != "auto" else ("torch" if missing else "te")


def _missing(precision: str) -> str:
    """What keeps Transformer Engine from running here, in words; nothing where it can."""
    if not torch.cuda.is_available():
        return "Transformer Engine needs a GPU"
    if not HAVE_TE:
        return "Transformer Engine is not installed, or cannot be imported"
    return "" if precision == "bf16" else f"in {precision} Transformer Engine takes far more memory, so it is for bf16"


def block_spec(model: Model, backend: str, num_layers: int) -> TransformerBlockSubmodules:
    """The stack of layers of one pipeline stage, and the norm that ends it."""
    if backend == "te":
        layer, norm = _te_layer(model)
    else:
        layer, norm = _torch_layer(model), TorchNorm
    return TransformerBlockSubmodules(layer_specs=[layer] * num_layers, layer_norm=norm)


class TorchNorm:
    """RMSNorm or LayerNorm of torch, told apart by the config. A class, because Megatron does not call functions here.

    Megatron's own refuses sequence parallelism, of which all it takes is the mark on the weights.
    """

    def __new__(cls, config: TransformerConfig, hidden_size: int, **kwargs: Any) -> torch.nn.Module:  # type: ignore[misc]
        """The module itself; Megatron's further arguments repeat the config."""
        kind = torch.nn.RMSNorm if config.normalization == "RMSNorm" else torch.nn.LayerNorm
        device = torch.cuda.current_device()
        norm = kind(hidden_size, eps=config.layernorm_epsilon, dtype=config.params_dtype, device=device)
        mark_sequence_parallel(norm, config)
        return norm


def name_without_time(name: str) -> str:
    """What a parameter of a layer with time conditioning is called in checkpoints of a model without."""
    for norm, fused in FUSED_NORMS.items():
        name = name.replace(f"layers.{norm}", f"layers.{fused}")
    return name


def _torch_layer(model: Model) -> ModuleSpec:
    return _layer(
        model,
        norm=TorchNorm,
        attention=SelfAttentionSubmodules(
            linear_qkv=ColumnParallelLinear, core_attention=PackedAttention, linear_proj=RowParallelLinear
        ),
        mlp=MLPSubmodules(linear_fc1=ColumnParallelLinear, activation_func=swiglu, linear_fc2=RowParallelLinear),
        names={} if model.time_conditioning else FUSED_NORMS,
    )


def _te_layer(model: Model) -> tuple[ModuleSpec, type]:
    # adaLN works between a norm and the linear layer, so there the two cannot be one kernel.
    first_linear = TEColumnParallelLinear if model.time_conditioning else TELayerNormColumnParallelLinear
    layer = _layer(
        model,
        norm=TENorm if model.time_conditioning else IdentityOp,
        attention=SelfAttentionSubmodules(
            linear_qkv=first_linear, core_attention=TEDotProductAttention, linear_proj=TERowParallelLinear
        ),
        mlp=MLPSubmodules(linear_fc1=first_linear, linear_fc2=TERowParallelLinear),
        names={},
    )
    return layer, TENorm


def _layer(
    model: Model, norm: type, attention: SelfAttentionSubmodules, mlp: MLPSubmodules, names: dict[str, str]
) -> ModuleSpec:
    return ModuleSpec(
        module=ConditionedLayer if model.time_conditioning else TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=norm,
            self_attention=ModuleSpec(
                module=SelfAttention, params={"attn_mask_type": AttnMaskType.padding}, submodules=attention
            ),
            self_attn_bda=get_bias_dropout_add,
            pre_mlp_layernorm=norm,
            mlp=ModuleSpec(module=MLP, submodules=mlp),
            mlp_bda=get_bias_dropout_add,
            sharded_state_dict_keys_map=names,
        ),
    )
