"""The keys of a recipe by other names: what people type who come from another framework, and slips of the pen."""

import difflib
from collections.abc import Sequence

ALIKE = 0.75
"""From this similarity on, by difflib, a name is taken for a slip of another."""

FOREIGN = {
    "write optimizer.lr": "learning_rate max_lr peak_lr base_lr init_lr",
    "write optimizer.warmup_steps": "warmup num_warmup_steps lr_warmup_iters lr_warmup_steps",
    "write optimizer.warmup_steps, which below 1 is a fraction of train.max_steps": (
        "warmup_ratio warmup_fraction lr_warmup_fraction"
    ),
    "write optimizer.schedule=cosine or optimizer.schedule=linear": (
        "scheduler lr_scheduler lr_scheduler_type lr_schedule lr_decay_style"
    ),
    "write optimizer.decay_steps and optimizer.min_lr_ratio": "min_lr lr_decay_iters t_max",
    "write optimizer.beta1 and optimizer.beta2": "betas adam_beta1 adam_beta2",
    "write optimizer.eps": "epsilon adam_eps adam_epsilon",
    "write optimizer.weight_decay": "wd",
    "write optimizer.clip_norm": (
        "clip clip_grad grad_clip max_grad_norm gradient_clip_val clip_grad_norm gradient_clipping"
    ),
    "write ema.decay": "ema_decay average moving_average",
    "write train.max_steps (--dry-run says how many times that shows the data)": (
        "epochs n_epochs num_epochs max_epochs num_train_epochs steps num_steps total_steps max_iters train_iters"
        " iterations num_iterations"
    ),
    "write train.global_batch_tokens, the tokens of a step over all processes": (
        "batch batch_size global_batch_size train_batch_size accumulate_grad_batches gradient_accumulation_steps"
        " grad_accum"
    ),
    "write data.tokens_per_pack, the tokens of a micro-batch": (
        "micro_batch_size per_device_batch_size per_device_train_batch_size max_tokens tokens_per_batch"
    ),
    "write train.precision=bf16 or train.precision=fp32": "fp16 bf16 fp32 dtype amp half mixed_precision bfloat16",
    "write train.save_every_steps": "save_steps save_interval checkpoint_every ckpt_every save_every",
    "write train.keep_last": "save_total_limit save_top_k",
    "write train.log_every_steps": "log_interval logging_steps log_every_n_steps log_every",
    "write train.seed": "random_seed manual_seed",
    "write train.resume": "resume_from resume_from_checkpoint ckpt_path load",
    "write validation.every_steps": "eval_steps eval_interval eval_every val_check_interval eval_iters",
    "write validation.patience": "early_stopping early_stopping_patience",
    "write data.train": "dataset data_path data_dir train_data train_path train_file input path",
    "write data.validation": "val valid val_data valid_data val_path valid_path eval_data",
    "write data.max_length_residues": (
        "max_len max_length max_seq_len max_seq_length seq_len seq_length context_length block_size"
    ),
    "write output, and name for the run's own folder": "output_dir out_dir save_dir run_dir work_dir",
    "write name": "run_name exp_name experiment experiment_name",
    "write model.hidden_size": "hidden hidden_dim d_model embed_dim embedding_dim n_embd width model_dim",
    "write model.num_layers": "layers n_layers n_layer num_hidden_layers depth",
    "write model.num_attention_heads": "heads n_heads n_head num_heads nhead",
    "write model.ffn_hidden_size": "ffn_dim intermediate_size d_ff mlp_dim dim_feedforward",
    "write parallel.tensor": "tp tp_size tensor_parallel tensor_model_parallel_size",
    "write parallel.pipeline": "pp pp_size pipeline_parallel pipeline_model_parallel_size",
    "write parallel.sharding": "fsdp zero zero_stage ddp strategy use_distributed_optimizer",
    "write track.wandb=true": "use_wandb report_to logger",
    "write track.project": "wandb_project project_name",
    "write track.entity": "wandb_entity team",
    "write track.group": "wandb_group",
    "write track.tensorboard=true": "use_tensorboard tensorboard_dir",
    "no key belongs in a recipe: set WANDB_API_KEY, or run `wandb login` once": "wandb_api_key wandb_key api_key",
    "processes are counted by the launcher: torchrun --nproc-per-node 8, or srun": (
        "gpus devices num_gpus n_gpus ngpus num_devices nnodes num_nodes nproc_per_node accelerator"
    ),
    "the encoder has no dropout": "dropout hidden_dropout attention_dropout",
    "batches are made in the background, without workers": "num_workers workers dataloader_num_workers",
}
"""What to do instead, and the names that people type, without the part before the last point."""

RENAMED = {
    "average": "ema",
    "average.decay": "ema.decay",
    "average.ramp": "ema.ramp",
    "evaluate": "validation",
    "evaluate.every_steps": "validation.every_steps",
    "evaluate.max_proteins": "validation.max_proteins",
    "evaluate.patience": "validation.patience",
    "evaluate.threshold": "validation.min_delta",
    "model.layer_spec": "model.backend",
    "objective.mask_share": "objective.mask_fraction",
    "objective.random_share": "objective.random_fraction",
    "optimizer.epsilon": "optimizer.eps",
    "optimizer.floor_ratio": "optimizer.min_lr_ratio",
    "optimizer.learning_rate": "optimizer.lr",
    "train.background_save": "train.async_save",
    "train.rehearsal_pack_tokens": "train.smoke_pack_tokens",
}
"""What keys and parts of a recipe were called in early versions, and what they are called now."""

_ADVICE = {name: advice for advice, names in FOREIGN.items() for name in names.split()}


def advice_for(typed: str, known: Sequence[str]) -> str | None:
    """What to write instead of a key that there is none of: by its last name in another framework, or the nearest.

    Args:
        typed: the key, or an option such as --batch-size.
        known: the keys that there are.
    """
    if typed in RENAMED:
        return f"it is called {RENAMED[typed]} now"
    name = _last(typed.lstrip("-").replace("-", "_").lower())
    if name in _ADVICE and name not in map(_last, known):
        return _ADVICE[name]
    near = max(known, key=lambda key: (_alike(name, _last(key)), _alike(typed, key)))
    return f"did you mean {near}?" if _alike(name, _last(near)) >= ALIKE else None


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _alike(word: str, other: str) -> float:
    return difflib.SequenceMatcher(None, word, other).ratio()
