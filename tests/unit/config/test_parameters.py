"""The names and sizes of parameters are those of the encoder, and patterns choose among them."""

import pytest

from d2plm_megatron.config import MODEL_SIZES, Model, Parallel, Recipe, Train
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.config.parameters import sizes, trained
from d2plm_megatron.config.sizing import memory, memory_of_stages, num_parameters
from d2plm_megatron.model.encoder import Encoder, transformer_config
from d2plm_megatron.model.sharding import slices_by_parameter

SHAPE = {"num_layers": 3, "hidden_size": 48, "num_attention_heads": 2, "ffn_hidden_size": 100}
MODELS = {
    "450m": Model(**SHAPE),
    "time": Model(**SHAPE, time_conditioning=True),
    "esm2": Model(**SHAPE, head="esm", bias=True, activation="gelu", normalization="layernorm"),
    "all": Model(**SHAPE, head="esm", bias=True, normalization="layernorm", time_conditioning=True),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_names_and_sizes_are_those_of_the_encoder(one_process, model):
    encoder = Encoder(model, transformer_config(model, Parallel(), "fp32", "torch"), "torch")
    parameters = dict(encoder.named_parameters())
    found = {slices[0].parameter: parameters[name].numel() for name, slices in slices_by_parameter(encoder).items()}
    for name in ("embedding.word_embeddings.weight", "output_layer.weight"):
        if name in found:
            found[name] = found[name] // 128 * 33
    assert found == sizes(model)
    assert sum(found.values()) == num_parameters(model)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("*", set(sizes(MODELS["esm2"]))),
        ("decoder.layers.2.*", {name for name in sizes(MODELS["esm2"]) if ".2." in name}),
        ("head.norm.* output_projection.bias", {"head.norm.weight", "head.norm.bias", "output_projection.bias"}),
        ("head.* !*.bias", {"head.dense.weight", "head.norm.weight"}),
        ("!*.bias  head.*", {"head.dense.weight", "head.norm.weight"}),
        ("!embedding.* !head.*", {n for n in sizes(MODELS["esm2"]) if not n.startswith(("embedding", "head"))}),
    ],
)
def test_patterns_choose(patterns, expected):
    assert trained(MODELS["esm2"], patterns) == expected


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        (
            "decoder.layers.7.mlp.linear_fc2.weight",
            "matches no parameter; near are decoder.layers.2.mlp.linear_fc2.wei",
        ),
        ("*.bias heads.dense.weight", "train.trainable=heads.dense.weight: matches no parameter; near are head.dense."),
        ("!output_layer.*", "train.trainable=!output_layer.*: matches no parameter"),
        ("head.* !head.*", "train.trainable=head.* !head.*: leaves nothing to train"),
        ("!*", "leaves nothing to train"),
    ],
)
def test_patterns_that_choose_nothing_are_refused(patterns, words):
    with pytest.raises(ValueError) as error:
        Recipe(model=MODELS["esm2"], train=Train(trainable=patterns))
    assert words in str(error.value)


@pytest.mark.parametrize("patterns", ["*", "!embedding.*", "*.bias decoder.layers.[0-3].*", "decoder.layers.?.*norm*"])
def test_patterns_are_typed_as_they_are(patterns):
    model = Recipe(model=MODEL_SIZES["esm2_35m"])
    assert resolve(model, [f"train.trainable={patterns}"]).train.trainable == patterns


def test_memory_follows_what_trains():
    """The last of three layers alone: gradients, optimizer and average are those of its numbers."""
    model = MODELS["450m"]
    recipe = Recipe(model=model, train=Train(trainable="decoder.layers.2.*", precision="bf16"))
    layer = sum(size for name, size in sizes(model).items() if ".2." in name)
    found, whole = memory(recipe, data_size=1), memory(Recipe(model=model), data_size=1)
    assert (found.gradients, found.optimizer, found.ema) == (4 * layer, 12 * layer, 4 * layer)
    assert (found.weights, found.activations) == (whole.weights, whole.activations)
    split = Recipe(model=model, train=recipe.train, parallel=Parallel(pipeline=3))
    assert [stage.gradients for stage in memory_of_stages(split, data_size=1)] == [0, 0, 4 * layer]
