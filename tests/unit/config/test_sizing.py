from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from d2plm_megatron.batch import NoisyBatch
from d2plm_megatron.config import MODEL_SIZES, Data, Model, Parallel, Recipe, Train
from d2plm_megatron.config.sizing import memory, memory_of_stages, num_parameters, training_flops
from d2plm_megatron.model.encoder import Encoder, transformer_config

PADDED_ROWS = 128 - 33

EXACT = {
    "esm2_8m": 7_512_353,  # facebook/esm2_t6_8M_UR50D, without its contact head
    "450m": 402_770_944,
    "450m_time": 441_193_472,
}
PUBLISHED = {  # in millions, with the digits that are published
    "esm2_8m": (7.512, 3),
    "esm2_35m": (33.50, 2),
    "esm2_150m": (148.14, 2),
    "esm2_650m": (651.04, 2),
    "esm2_3b": (2840, -1),
    "esm2_15b": (15100, -2),
}


@pytest.mark.parametrize(("size", "count"), EXACT.items())
def test_exact_numbers_of_parameters(size, count):
    assert num_parameters(MODEL_SIZES[size]) == count


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_numbers_of_parameters(size):
    millions, digits = PUBLISHED[size]
    assert round(num_parameters(MODEL_SIZES[size]) / 1e6, digits) == millions


@pytest.mark.parametrize(
    ("layers", "hidden", "size"), [(6, 320, "esm2_8m"), (36, 2560, "esm2_3b"), (48, 5120, "esm2_15b")]
)
def test_esm2_in_closed_form(layers, hidden, size):
    """Per layer q k v out, two FFN matrices of 4 h, their biases and two norms; embedding, last norm, head and bias."""
    head = hidden**2 + hidden + 2 * hidden + 33
    assert num_parameters(MODEL_SIZES[size]) == layers * (12 * hidden**2 + 13 * hidden) + 35 * hidden + head


def build(model: Model) -> Encoder:
    return Encoder(model, transformer_config(model, Parallel(), "fp32", "torch"), "torch")


SMALL = {
    "tiny": MODEL_SIZES["tiny"],
    "esm2_8m": MODEL_SIZES["esm2_8m"],
    "time": Model(num_layers=3, hidden_size=48, num_attention_heads=2, ffn_hidden_size=100, time_conditioning=True),
    "gated with biases": Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=50, bias=True),
    "esm with adaLN": replace(MODEL_SIZES["esm2_8m"], num_layers=2, time_conditioning=True),
}


@pytest.mark.parametrize("name", SMALL)
def test_the_encoder_has_as_many_parameters(one_process, name):
    encoder, model = build(SMALL[name]), SMALL[name]
    padded = (2 if model.head == "linear" else 1) * PADDED_ROWS * model.hidden_size
    assert sum(parameter.numel() for parameter in encoder.parameters()) - padded == num_parameters(model)


@pytest.mark.parametrize("name", ["tiny", "esm2_8m"])
@pytest.mark.parametrize("lengths", [[64], [32, 25, 7]])
def test_operations_are_those_that_torch_counts(one_process, make_pack, name, lengths):
    encoder, model, pack = build(SMALL[name]), SMALL[name], make_pack(lengths)
    times_S = torch.zeros(len(lengths), dtype=torch.float64)
    noisy = NoisyBatch(clean=pack, tokens_T=pack.tokens_T, times_S=times_S, predicted_T=pack.scored_T)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(noisy)
    padded = 2 * 64 * PADDED_ROWS * model.hidden_size
    expected = training_flops(model, 64, sum(length**2 for length in lengths))
    assert 3 * (counter.get_total_flops() - padded) == expected


def test_memory_of_weights_and_optimizer():
    """bf16: 2 bytes of weight, 4 of gradient, 12 of optimizer and 4 of average to each parameter."""
    recipe, number = Recipe(model=MODEL_SIZES["450m"]), 402_770_944
    alone = memory(recipe, data_size=1)
    assert (alone.weights, alone.gradients, alone.optimizer, alone.ema) == (
        2 * number, 4 * number, 12 * number, 4 * number,
    )  # fmt: skip
    assert alone.total == 22 * number + alone.activations
    shared = memory(recipe, data_size=8)
    assert (shared.weights, shared.optimizer, shared.ema) == (2 * number, 12 * number / 8, 4 * number / 8)
    fully = memory(replace(recipe, parallel=Parallel(sharding="parameters")), data_size=8)
    assert (fully.weights, fully.gradients) == (2 * number / 8, 4 * number / 8)
    assert (fully.gathered, shared.gathered) == (2 * number, 0)
    single = memory(replace(recipe, train=Train(precision="fp32")), data_size=1)
    assert (single.weights, single.optimizer) == (4 * number, 8 * number)  # the weights are their own main weights
    sharded = replace(recipe, parallel=Parallel(sharding="parameters"), train=Train(precision="fp32"))
    assert memory(sharded, data_size=8).optimizer == 12 * number / 8  # FSDP has main weights of its own
    assert memory(sharded, data_size=1) == single  # alone there is nothing to shard


def test_memory_of_stages():
    """Each has its layers; the first the embedding, the last the head, with the embedding again where it is tied to it.

    Every tensor-parallel process has the norms and ESM-2's dense layer whole.
    """
    model, h = MODEL_SIZES["esm2_650m"], 1280
    recipe = Recipe(model=model, parallel=Parallel(tensor=4, sequence=True, pipeline=3))
    stages = memory_of_stages(recipe, data_size=1)
    layer = 12 * h**2 // 4 + 7 * h // 4 + 6 * h  # a share of q k v and the FFN; norms and biases of outputs whole
    embedding, head = 33 * h // 4, h**2 + h + 2 * h + 33 + 2 * h
    assert [stage.weights for stage in stages] == [
        2 * (11 * layer + embedding), 2 * 11 * layer, 2 * (11 * layer + embedding + head),
    ]  # fmt: skip
    assert memory(recipe, data_size=1) == stages[0]


def test_a_stage_keeps_as_many_packs_as_stages_follow():
    recipe = Recipe(parallel=Parallel(pipeline=4), train=Train(global_batch_tokens=64 * Data().tokens_per_pack))
    kept = [stage.activations for stage in memory_of_stages(recipe, data_size=16)]
    assert kept[0] / kept[2] == pytest.approx(2, rel=0.2)
    assert sorted(kept, reverse=True) == kept
    fewer = [stage.activations for stage in memory_of_stages(recipe, data_size=32)]  # two packs each
    assert fewer[0] == fewer[1] == fewer[2] < kept[1]
