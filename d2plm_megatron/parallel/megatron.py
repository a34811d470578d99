"""Imports Megatron-core once with its warnings silenced: that Transformer Engine and Apex are missing is no news.

The rooms that use Megatron import this module first, so that what they import has already been imported in silence.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import megatron.core.dist_checkpointing
    import megatron.core.distributed
    import megatron.core.distributed.fsdp.mcore_fsdp_adapter
    import megatron.core.models.gpt.gpt_model
    import megatron.core.optimizer
    import megatron.core.pipeline_parallel  # noqa: F401
    from megatron.core import parallel_state as parallel_state
    from megatron.core.pipeline_parallel import get_forward_backward_func as get_forward_backward_func
    from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed as model_parallel_cuda_manual_seed
