"""Whether what a process needs fits into the memory of a GPU, and what to change where it does not."""

from collections.abc import Mapping

from d2plm_megatron.config.recipe import Recipe
from d2plm_megatron.config.sizing import GIB

MARGIN = 0.1
"""Share of a GPU's memory that is left to what nobody counts: CUDA's context, buffers of NCCL, what fragments."""

LARGEST_GPU_GIB = 10_000.0

ADVICE = {
    "activations": "data.tokens_per_pack={half_pack}, or parallel.tensor={twice}",
    "optimizer": "parallel.sharding=optimizer with more GPUs, or parallel.sharding=parameters",
    "gradients": "parallel.sharding=parameters, or parallel.tensor={twice}",
    "weights": "parallel.sharding=parameters, or parallel.tensor={twice}",
    "ema": "parallel.sharding=optimizer with more GPUs",
}
"""What to change, by what takes most of the memory."""


def fits(num_bytes: int, gpu_memory: float) -> bool:
    """Whether so many bytes leave the margin of a GPU of so many GiB."""
    return num_bytes / GIB <= (1 - MARGIN) * gpu_memory


def check_fits(recipe: Recipe, num_bytes: int, parts: Mapping[str, int], gpu_memory: float) -> None:
    """Raises ValueError, saying what to change, unless a process fits into a GPU.

    Args:
        recipe: of the run.
        num_bytes: that a process needs in all.
        parts: of them, by what they are for; those of ADVICE at least.
        gpu_memory: of the GPU, in GiB.
    """
    if fits(num_bytes, gpu_memory):
        return
    name = max(ADVICE, key=lambda part: parts[part])
    changes = ADVICE[name].format(half_pack=recipe.data.tokens_per_pack // 2, twice=2 * recipe.parallel.tensor)
    raise ValueError(
        f"{num_bytes / GIB:.0f} GiB per GPU are needed and there are {gpu_memory:.0f}, of which {MARGIN:.0%} are "
        f"left to kernels and NCCL; most of it is {name}: set {changes}"
    )
