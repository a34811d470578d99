"""What is rehearsed: a recipe on a number of GPUs."""

from dataclasses import dataclass

from d2plm_megatron.config import Recipe, at_least, between
from d2plm_megatron.config.budget import TYPICAL_LENGTH
from d2plm_megatron.config.fitting import LARGEST_GPU_GIB
from d2plm_megatron.config.hardware import Gpu
from d2plm_megatron.parallel.launched import check_batch, check_layout


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run on GPUs that are not here.

    Attributes:
        recipe: of the run.
        world_size: its number of processes, one for each GPU.
        gpu: of each; `gpus_per_node` consecutive ranks share a node.
        gpu_memory: of each, in GiB.
        length: of every protein, in tokens.

    Raises ValueError for a size that cannot be.
    """

    recipe: Recipe
    world_size: int
    gpu: Gpu
    gpu_memory: float
    length: int = TYPICAL_LENGTH

    def __post_init__(self) -> None:
        at_least("--world-size", self.world_size, 1)
        at_least("--gpus-per-node", self.gpu.gpus_per_node, 1)
        between("--gpu-memory", self.gpu_memory, 1.0, LARGEST_GPU_GIB)
        between("--length", self.length, 1, self.recipe.data.tokens_per_pack)

    def check_layout(self) -> None:
        """Raises ValueError when the processes cannot be grouped, or the packs not dealt out, as the recipe says."""
        check_batch(self.recipe, check_layout(self.recipe.parallel, self.world_size))

    @property
    def data_size(self) -> int:
        """Number of data-parallel ranks."""
        return self.world_size // (self.recipe.parallel.tensor * self.recipe.parallel.pipeline)

    @property
    def num_packs(self) -> int:
        """Packs of each data-parallel rank in a step."""
        return self.recipe.train.global_batch_tokens // self.recipe.data.tokens_per_pack // self.data_size

    @property
    def num_tokens(self) -> int:
        """Of the whole run."""
        return self.recipe.train.max_steps * self.recipe.train.global_batch_tokens

    @property
    def layout(self) -> str:
        """How the processes share the work, in words."""
        parallel = self.recipe.parallel
        tensor = f"tensor {parallel.tensor}{' + sequence' if parallel.sequence else ''}"
        return f"{tensor} x pipeline {parallel.pipeline} x data {self.data_size}, sharding {parallel.sharding}"
