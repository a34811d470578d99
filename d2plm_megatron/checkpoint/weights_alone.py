"""A checkpoint's weights by themselves: as a checkpoint that can be evaluated and sampled from, or as one file."""

from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.files import atomic
from d2plm_megatron.model.encoder import DTYPES
from d2plm_megatron.parallel.processes import process_group
from d2plm_megatron.runs.checkpoint import Checkpoint


def write_checkpoint(checkpoint: Checkpoint, weights: str, output: Path) -> None:
    """Writes a checkpoint that holds these weights alone, into a folder that must not exist."""
    with atomic(output) as (folder,), process_group():
        folder.mkdir()
        whole = tensors.load_whole(checkpoint.path, weights)
        files = tensors.save(folder, {weights: [(tensors.whole_slice(*item), item[1]) for item in whole.items()]})
        replace(checkpoint, path=folder, state={**checkpoint.state, "files": files}).write()


def write_file(checkpoint: Checkpoint, weights: str, precision: str, output: Path) -> int:
    """Writes these weights as one safetensors file with the recipe in its header; returns the number of tensors."""
    with atomic(output) as (temporary,):
        held = tensors.load_whole(checkpoint.path, weights)
        whole = {name: tensor.to(DTYPES[precision]) for name, tensor in held.items()}
        header = {"recipe": to_yaml(checkpoint.recipe), "step": str(checkpoint.state["progress"]["step"])}
        save_file(whole, temporary, {**header, "weights": weights, "format": "pt"})
    return len(whole)
