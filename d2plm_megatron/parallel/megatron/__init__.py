"""The one door to Megatron-core: all that the package takes of it comes through here, imported once and in silence.

What Megatron makes public is named below. What it promises to nobody (private methods, marks on parameters, keys of
dictionaries) is reached by small functions in the files beside, and fragile.py lists it all. That Transformer Engine
and Apex are missing, of which Megatron warns, is no news.
"""

import warnings

from d2plm_megatron.parallel.megatron.spared import spared

with warnings.catch_warnings(), spared():
    warnings.simplefilter("ignore")
    from megatron.core import parallel_state
    from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
    from megatron.core.distributed import (
        DistributedDataParallel,
        DistributedDataParallelConfig,
        FullyShardedDataParallel,
        finalize_model_grads,
    )
    from megatron.core.extensions.transformer_engine import (
        HAVE_TE,
        TEColumnParallelLinear,
        TEDotProductAttention,
        TELayerNormColumnParallelLinear,
        TENorm,
        TERowParallelLinear,
    )
    from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
    from megatron.core.models.gpt.gpt_model import GPTModel
    from megatron.core.optimizer import (
        ChainedOptimizer,
        DistributedOptimizer,
        Float16OptimizerWithFloat16Params,
        FP32Optimizer,
        MegatronOptimizer,
        OptimizerConfig,
        get_megatron_optimizer,
    )
    from megatron.core.packed_seq_params import PackedSeqParams
    from megatron.core.pipeline_parallel import get_forward_backward_func
    from megatron.core.pipeline_parallel.utils import get_pp_last_rank
    from megatron.core.process_groups_config import ProcessGroupCollection
    from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear, model_parallel_cuda_manual_seed
    from megatron.core.transformer import (
        ModuleSpec,
        TransformerConfig,
        TransformerLayer,
        TransformerLayerSubmodules,
    )
    from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
    from megatron.core.transformer.enums import AttnMaskType
    from megatron.core.transformer.identity_op import IdentityOp
    from megatron.core.transformer.mlp import MLP, MLPSubmodules
    from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
    from megatron.core.utils import to_local_if_dtensor

__all__ = [
    "HAVE_TE",
    "MLP",
    "AttnMaskType",
    "ChainedOptimizer",
    "ColumnParallelLinear",
    "DistributedDataParallel",
    "DistributedDataParallelConfig",
    "DistributedOptimizer",
    "FP32Optimizer",
    "Float16OptimizerWithFloat16Params",
    "FullyShardedDataParallel",
    "GPTModel",
    "IdentityOp",
    "MLPSubmodules",
    "MegatronOptimizer",
    "ModuleSpec",
    "OptimizerConfig",
    "PackedSeqParams",
    "ProcessGroupCollection",
    "RowParallelLinear",
    "SelfAttention",
    "SelfAttentionSubmodules",
    "ShardedTensor",
    "ShardedTensorFactory",
    "TEColumnParallelLinear",
    "TEDotProductAttention",
    "TELayerNormColumnParallelLinear",
    "TENorm",
    "TERowParallelLinear",
    "TransformerBlockSubmodules",
    "TransformerConfig",
    "TransformerLayer",
    "TransformerLayerSubmodules",
    "finalize_model_grads",
    "get_bias_dropout_add",
    "get_forward_backward_func",
    "get_megatron_optimizer",
    "get_pp_last_rank",
    "model_parallel_cuda_manual_seed",
    "parallel_state",
    "to_local_if_dtensor",
]
