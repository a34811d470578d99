"""All that we use of Megatron and torch although they promise it to nobody.

What is public is described in stubs/megatron, against which mypy checks our calls. A new version of either may take
away without a word what is listed here: tests/unit/parallel/test_megatron_contract.py says what is gone. All of it is
in megatron-core 0.16.1 and torch 2.13.0.
"""

from dataclasses import dataclass

OPTIMIZER = "megatron.core.optimizer"
FSDP = "megatron.core.distributed.fsdp"
BUFFERS = f"{FSDP}.src.megatron_fsdp.param_and_grad_buffer"
GPT = "megatron.core.models.gpt.gpt_model.GPTModel"
C10D = "torch.distributed.distributed_c10d"


@dataclass(frozen=True)
class Fragile:
    """One private thing.

    Attributes:
        owner: dotted path of the module or class that has it, sets it on other objects, or looks for it there.
        name: an attribute, or a key of a dictionary.
        why: what it is for.
        takes: parameters by which it is called, if it is a method that we override.
    """

    owner: str
    name: str
    why: str
    takes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


FRAGILE = [
    Fragile(f"{OPTIMIZER}.ChainedOptimizer", "chained_optimizers", "to reach each optimizer's own fp32 weights"),
    Fragile(f"{OPTIMIZER}.MegatronOptimizer", "init_state_fn", "moments of the size of a shard for a fused optimizer"),
    Fragile(f"{OPTIMIZER}.MegatronOptimizer", "optimizer", "torch's inside Megatron's, which holds the moments"),
    Fragile(OPTIMIZER, "wd_mult", "a parameter group's share of the weight decay, which may change from step to step"),
    Fragile(f"{OPTIMIZER}.Float16OptimizerWithFloat16Params", "main_param", "the fp32 copy of a 16-bit parameter"),
    Fragile(
        f"{OPTIMIZER}.Float16OptimizerWithFloat16Params",
        "_copy_main_params_to_model_params",
        "the encoder computes with restored weights, or with their EMA",
    ),
    Fragile(f"{OPTIMIZER}.DistributedOptimizer", "_copy_main_params_to_model_params", "the same, sharded"),
    Fragile(
        f"{OPTIMIZER}.DistributedOptimizer", "_get_model_param_range_map", "which run of a parameter is this rank's"
    ),
    Fragile(f"{OPTIMIZER}.DistributedOptimizer", "model_param_gbuf_map", "which parameters this rank has a run of"),
    Fragile(f"{OPTIMIZER}.DistributedOptimizer", "model_param_group_index_map", "where the weights of that run are"),
    Fragile(f"{FSDP}.mcore_fsdp_adapter.FullyShardedDataParallel", "param_and_grad_buffer", "FSDP's weights"),
    Fragile(f"{FSDP}.mcore_fsdp_adapter.FullyShardedDataParallel", "stop_communication", "no gathering while we write"),
    Fragile(f"{BUFFERS}.ParamAndGradBuffer", "optimizer_named_parameters", "FSDP's weights by name"),
    Fragile(BUFFERS, "megatron_fsdp_slice", "which run of a parameter FSDP keeps here"),
    Fragile("megatron.core.distributed.DistributedDataParallel", "bucket_groups", "tests: gradients come in parts"),
    Fragile(
        "megatron.core.distributed.finalize_model_grads",
        "sequence_parallel",
        "a mark on parameters: their gradients are parts, to be added up over tensor-parallel ranks",
    ),
    Fragile(GPT, "_preprocess", "a rotary angle per token, so that positions start anew", ("position_ids",)),
    Fragile(
        GPT,
        "_postprocess",
        "time conditioning and ESM-2's head before the output",
        ("hidden_states", "packed_seq_params", "extra_block_kwargs"),
    ),
    Fragile(OPTIMIZER, "Adam", "on a CPU: torch's in place of one for GPUs"),
    Fragile(OPTIMIZER, "USING_PYTORCH_OPTIMIZER", "on a CPU: tells which of the two it is"),
    Fragile(f"{FSDP}.mcore_fsdp_adapter", "TELinear", "on a CPU: without Transformer Engine a mock, not a class"),
    Fragile(BUFFERS, "_coalescing_manager", "on a CPU: collectives as one, finished when the block ends"),
    Fragile("megatron.core.tensor_parallel.random", "_set_cuda_rng_state", "on a CPU: the state of its generator"),
    Fragile(C10D, "_abort_process_group", "to leave a run that has failed without waiting for the others"),
    Fragile(C10D, "_coalescing_manager", "on a CPU: what stands for Megatron-FSDP's"),
    Fragile(
        "torch.Tensor", "register_post_accumulate_grad_hook", "FSDP hooks frozen parameters, too: theirs does nothing"
    ),
    Fragile(
        f"{FSDP}.mcore_fsdp_adapter.FullyShardedDataParallel", "_init_dist_index", "rehearsal: its ranks are numbers"
    ),
    Fragile(BUFFERS, "validate_uneven_dtensor", "rehearsal: a check that asks the other ranks"),
    Fragile(
        f"{FSDP}.mcore_fsdp_adapter.FullyShardedDataParallel",
        "sync_rng_states_across_tp_group",
        "rehearsal: asks the other ranks",
    ),
    Fragile("torch._subclasses.fake_tensor", "FakeTensor", "rehearsal: tensors without data"),
    Fragile("torch._subclasses.fake_tensor", "FakeTensorMode", "rehearsal: makes them"),
    Fragile("torch._subclasses.fake_tensor", "unset_fake_temporarily", "rehearsal: does not make them"),
    Fragile("torch.testing._internal.distributed.fake_pg", "FakeStore", "rehearsal: processes that are not there"),
    Fragile("torch", "_C", "rehearsal: the way to the next"),
    Fragile("torch._C", "_distributed_c10d", "rehearsal: the way to FakeWork"),
    Fragile("torch._C._distributed_c10d", "FakeWork", "rehearsal: a collective that is finished"),
    Fragile("torch.utils", "_python_dispatch", "rehearsal: to see every operation"),
    Fragile("torch.utils._python_dispatch", "TorchDispatchMode", "rehearsal: to see every operation"),
    Fragile("torch.utils", "_pytree", "rehearsal: the tensors of an operation"),
    Fragile("torch.utils.flop_counter", "flop_registry", "rehearsal: how many operations are in one"),
    Fragile("torch.UntypedStorage", "_cdata", "rehearsal: tells storages apart"),
    Fragile("torch._ops.OpOverload", "_overloadpacket", "rehearsal: the name of an operation"),
    Fragile("torch._ops.OpOverload", "_schema", "rehearsal: whether a collective returns its outputs"),
    Fragile("torch.ScriptObject", "_type", "rehearsal: which argument of a collective is its group"),
    *(
        Fragile("torch.ops.aten", f"_scaled_dot_product_flash_attention{kind}", "rehearsal: operations of attention")
        for kind in ("", "_backward", "_for_cpu", "_for_cpu_backward")
    ),
    Fragile("torch.ops.aten", "_local_scalar_dense", "rehearsal: a number is read from a tensor"),
    Fragile("torch", "_foreach_norm", "the norms of all gradients in few kernels"),
    Fragile("torch", "_foreach_mul_", "clipping in few kernels"),
    Fragile("torch", "_foreach_lerp_", "the EMA in few kernels"),
]
"""By the file that uses it: optimizers, modules, cuda_on_cpu, torch_internals, watched, without_data. `main_param` and
the like are marks that Megatron hangs on parameters: there `owner` is who hangs them."""
