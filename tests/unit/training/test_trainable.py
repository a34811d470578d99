"""A run in which some parameters do not train: they stay to the bit, cost nothing, and are in every checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.config import Data, Model, Optimizer, Recipe, Train, Validation
from d2plm_megatron.config.parameters import sizes, trained
from d2plm_megatron.inference.encoders import load_encoder
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.runs import tensor_index as index
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.tensor_index import EMA, MOMENTS, RAW
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.trainer import Trainer

MODEL = Model(num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64, init_std=0.2)
LAST = "decoder.layers.1.*"
FC2 = "decoder.layers.mlp.linear_fc2.weight"


@pytest.fixture(params=["fp32", "bf16"])
def recipe(request: pytest.FixtureRequest, write_proteins: Callable[..., Path], tmp_path: Path) -> Recipe:
    data = str(write_proteins([40] * 60))
    return Recipe(
        output=str(tmp_path),
        model=MODEL,
        data=Data(train=data, validation=data, max_length_residues=40, tokens_per_pack=64, window_proteins=32),
        optimizer=Optimizer(lr=1e-2, warmup_steps=0, decay_steps=9),
        train=Train(max_steps=3, precision=request.param, global_batch_tokens=128, save_every_steps=3),
        validation=Validation(every_steps=3, max_proteins=4),
    )


def changed(recipe: Recipe, **train: object) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **train))  # type: ignore[arg-type]


@pytest.mark.parametrize("in_background", [False, True])
def test_what_is_frozen_stays_the_parents_to_the_bit(
    recipe: Recipe, one_process: Processes, in_background: bool
) -> None:
    """In the checkpoint it is fp32 as it was, whatever precision is computed in."""
    Trainer.of(changed(replace(recipe, name="parent"), precision="fp32"), one_process).fit()
    parent = Checkpoint.open(Path(recipe.output) / "parent")
    Trainer.of(changed(recipe, init_from=str(parent.path), trainable=LAST, async_save=in_background), one_process).fit()
    child = Checkpoint.open(Path(recipe.output) / recipe.name)
    child.check_whole()
    before = tensors.load_whole(parent.path, EMA)
    for group in (RAW, EMA):
        after = tensors.load_whole(child.path, group)
        assert after.keys() == before.keys()
        for name, values in after.items():
            if name.startswith("decoder.layers."):
                assert torch.equal(values[0], before[name][0]), name
                assert not torch.equal(values[1], before[name][1]), name
            else:
                assert torch.equal(values, before[name]), name


def test_what_is_frozen_takes_no_gradients_moments_or_average(
    recipe: Recipe, one_process: Processes, make_pack: Callable[..., TokenBatch], backward: Callable
) -> None:
    whole, part = Engine(recipe, one_process), Engine(changed(recipe, trainable=LAST), one_process)
    num_trained = sum(size for name, size in sizes(MODEL).items() if ".1." in name)
    assert sum(value.numel() for value in part.ema.values) == num_trained
    assert sum(p.numel() for group in part.optimizer.param_groups for p in group["params"]) == num_trained
    assert sum(buffer.numel for buffer in part.wrapped.buffers) == num_trained
    for engine in (whole, part):
        backward(engine, [make_pack([20, 30])])
        engine.optimizer.prepare_grads()
    gradients = {shard.slices[0].parameter: shard.main_param.grad for shard in whole.masters.shards}
    assert len(part.masters.shards) == len(trained(MODEL, LAST))
    for shard in part.masters.shards:
        expected = gradients[
            shard.slices[0].parameter
        ]  # but for rounding: Megatron multiplies by frozen weights otherwise
        torch.testing.assert_close(shard.main_param.grad, expected, rtol=1e-2, atol=1e-2 * expected.abs().max().item())
    squares = sum(shard.main_param.grad.double().square().sum().item() for shard in part.masters.shards)
    assert part.masters.squared_norm().item() == pytest.approx(squares, rel=1e-6)
    assert squares < 0.9 * whole.masters.squared_norm().item()


def test_a_checkpoint_holds_moments_of_what_trains_alone(recipe: Recipe, one_process: Processes) -> None:
    Trainer.of(changed(recipe, trainable=LAST), one_process).fit()
    checkpoint = Checkpoint.open(Path(recipe.output) / recipe.name)
    found = index.read(checkpoint.path)
    assert found[RAW].keys() == found[EMA].keys() > found["exp_avg"].keys()
    for moment in MOMENTS:
        assert all(name.startswith("decoder.layers.") for name in found[moment])
        assert [piece.offset[0] for piece in found[moment][FC2].pieces] == [1]
        values = tensors.load_whole(checkpoint.path, moment)[FC2]
        assert not values[0].any() and values[1].all()
    encoder = load_encoder(checkpoint, EMA, "fp32", one_process.device)
    expected = tensors.load_whole(checkpoint.path, EMA)
    assert torch.equal(encoder.embedding.word_embeddings.weight, expected["embedding.word_embeddings.weight"])


def test_a_continued_run_is_the_same_to_the_bit(recipe: Recipe, one_process: Processes) -> None:
    filtered = changed(recipe, trainable="*norm* decoder.layers.1.* !*.linear_fc1.weight", save_every_steps=2)
    Trainer.of(changed(replace(filtered, name="straight"), max_steps=4), one_process).fit()
    Trainer.of(changed(filtered, max_steps=2), one_process).fit()
    Trainer.of(changed(filtered, max_steps=4), one_process).fit()
    straight, continued = (Checkpoint.open(Path(recipe.output) / name) for name in ("straight", recipe.name))
    for group in (RAW, EMA, *MOMENTS):
        expected, found = (tensors.load_whole(checkpoint.path, group) for checkpoint in (straight, continued))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_others_cannot_train_in_the_same_run(recipe: Recipe, one_process: Processes) -> None:
    Trainer.of(changed(recipe, trainable=LAST), one_process).fit()
    names = "decoder.layers.1.self_attention.* decoder.layers.1.mlp.*"
    assert Trainer.of(changed(recipe, trainable=names), one_process).progress.step == 3  # the same by other words
    with pytest.raises(
        ValueError, match=r"trained with train\.trainable=decoder\.layers\.1\.\*, but the recipe says \*"
    ):
        Trainer.of(recipe, one_process)


def test_the_average_is_swapped_in_beside_what_is_frozen(recipe: Recipe, one_process: Processes) -> None:
    trainer = Trainer.of(changed(recipe, trainable=LAST), one_process)
    trainer.fit()
    stored = tensors.load_whole(Checkpoint.open(Path(recipe.output) / recipe.name).path, EMA)[FC2]
    with trainer.engine.ema.swapped_in():
        for number, layer in enumerate(trainer.engine.encoder.decoder.layers):
            assert torch.equal(layer.mlp.linear_fc2.weight, stored[number].to(layer.mlp.linear_fc2.weight.dtype))
