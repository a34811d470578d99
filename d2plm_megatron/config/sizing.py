"""Sizes by arithmetic, before anything is built: parameters, floating-point operations, memory."""

from dataclasses import dataclass

from d2plm_megatron.config import Model, Parallel, Recipe
from d2plm_megatron.config.activations import per_token
from d2plm_megatron.config.parameters import held, layer_matrices, sizes, trained
from d2plm_megatron.proteins import alphabet

GIB = 2**30
GATHERED_AT_ONCE = 10**9


def num_parameters(model: Model) -> int:
    """Parameters of the encoder over the 33 tokens of the alphabet, as ESM-2 counts them.

    In memory the embedding and an output layer of their own have 128 rows.
    """
    return sum(sizes(model).values())


def num_trained(recipe: Recipe) -> int:
    """Those of them that train."""
    found = sizes(recipe.model)
    return sum(found[name] for name in trained(recipe.model, recipe.train.trainable))


def training_flops(model: Model, num_tokens: int, sum_squared_lengths: int) -> int:
    """Operations that the model needs for a forward and a backward pass over some proteins.

    Two per weight and token and, in each layer, four hidden sizes per pair of tokens of a protein; the backward pass
    takes twice the forward. Norms, rotations and adaLN are left out.
    """
    head = alphabet.SIZE * model.hidden_size + (model.hidden_size**2 if model.head == "esm" else 0)
    weights = model.num_layers * layer_matrices(model) + head
    pairs = model.num_layers * 4 * model.hidden_size * sum_squared_lengths
    return 3 * (2 * weights * num_tokens + pairs)


@dataclass(frozen=True)
class Memory:
    """Estimated bytes per process.

    Attributes:
        weights: that the encoder computes with.
        gradients: in fp32, of what trains.
        optimizer: fp32 weights and two moments, of what trains.
        ema: the exponential moving average of the weights, of what trains.
        gathered: of weights that are sharded, those that are whole at a time.
        activations: of the packs in flight, kept for the backward pass, and what lives beside them at the peak.
    """

    weights: int
    gradients: int
    optimizer: int
    ema: int
    gathered: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(vars(self).values())


def memory(recipe: Recipe, data_size: int) -> Memory:
    """What the tensors of a process take, of the pipeline stage that takes most: see `memory_of_stages`."""
    return max(memory_of_stages(recipe, data_size), key=lambda stage: stage.total)


def memory_of_stages(recipe: Recipe, data_size: int) -> list[Memory]:
    """What the tensors of a process take, within a twentieth of what a rehearsal finds, by pipeline stage.

    Not counted: the CUDA context, buffers of NCCL, scratch of kernels, and what fragments. Activations are those of one
    pack; in a pipeline a stage keeps those of as many packs as stages follow it, itself among them. Where only some
    parameters train, activations are as if all did.

    Args:
        recipe: of the run.
        data_size: number of data-parallel ranks.
    """
    return [_of_stage(recipe, data_size, stage) for stage in range(recipe.parallel.pipeline)]


def _of_stage(recipe: Recipe, data_size: int, stage: int) -> Memory:
    model, parallel = recipe.model, recipe.parallel
    found, trains = _parameters_of_stage(recipe, stage)
    main = 2 if recipe.train.precision == "bf16" else 4
    sharding = parallel.sharding if data_size > 1 else "none"  # alone there is nothing to share
    shared = data_size if sharding != "none" else 1
    fully = data_size if sharding == "parameters" else 1
    own_main = main == 4 and sharding != "parameters"  # the weights are the optimizer's main weights
    return Memory(
        weights=round(main * found / fully),
        gradients=round(4 * trains / fully),
        optimizer=round((8 if own_main else 12) * trains / shared),
        ema=round(4 * trains / shared),
        gathered=round(main * _gathered(model, parallel)) if fully > 1 else 0,
        activations=round(main * recipe.data.tokens_per_pack * per_token(recipe, data_size, stage)),
    )


def _parameters_of_stage(recipe: Recipe, stage: int) -> tuple[int, int]:
    """(how many parameters a process of a stage has, how many of them train)."""
    found, training = held(recipe.model, recipe.parallel.tensor), trained(recipe.model, recipe.train.trainable)
    own = [name for name in found if stage in _stages_with(name, recipe)]
    return sum(found[name] for name in own), sum(found[name] for name in own if name in training)


def _stages_with(name: str, recipe: Recipe) -> tuple[int, ...]:
    last = recipe.parallel.pipeline - 1
    if name.startswith("decoder.layers."):
        return (int(name.split(".")[2]) * recipe.parallel.pipeline // recipe.model.num_layers,)
    if name.startswith("embedding."):
        return (0, last) if recipe.model.head == "esm" and last else (0,)  # the output layer is tied to it
    return (last,)


def _gathered(model: Model, parallel: Parallel) -> float:
    """Weights that Megatron-FSDP holds whole: of a model below a billion all, else two layers and what is outside."""
    if num_parameters(model) < GATHERED_AT_ONCE:
        return num_parameters(model) / parallel.tensor
    outside = num_parameters(model) - model.num_layers * layer_matrices(model)
    return (2 * layer_matrices(model) + outside) / parallel.tensor
