"""A run that begins with the weights of another: what is taken, what is new, and what is refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.checkpoint.__main__ import inspect
from d2plm_megatron.commandline.dry_run import print_plan
from d2plm_megatron.config import Data, FlowMatching, MaskedLM, Model, Optimizer, Recipe, Train
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.tensor_index import EMA, RAW
from d2plm_megatron.training.trainer import Trainer

MODEL = Model(num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64, init_std=0.2)


@pytest.fixture
def recipe(write_proteins: Callable[..., Path], tmp_path: Path) -> Recipe:
    return Recipe(
        name="parent",
        output=str(tmp_path),
        model=MODEL,
        data=Data(train=str(write_proteins([40] * 60)), max_length_residues=40, tokens_per_pack=64, window_proteins=32),
        optimizer=Optimizer(lr=1e-2, warmup_steps=0, decay_steps=9),
        train=Train(max_steps=3, precision="fp32", global_batch_tokens=128, save_every_steps=3, async_save=False),
    )


@pytest.fixture
def parent(recipe: Recipe, one_process: Processes) -> Path:
    Trainer.of(recipe, one_process).fit()
    return Path(recipe.output) / recipe.name


def child_of(recipe: Recipe, parent: Path, *, name: str = "child", **changed: Any) -> Recipe:
    return replace(recipe, name=name, train=replace(recipe.train, init_from=str(parent), **changed))


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The fp32 weights, whole, by name."""
    whole: dict[str, torch.Tensor] = {}
    for slice_, values in trainer.engine.masters.sliced(trainer.engine.masters.weights):
        place = tuple(slice(begin, begin + size) for begin, size in zip(slice_.offset, slice_.shape, strict=True))
        whole.setdefault(slice_.name, torch.full(slice_.whole_shape, torch.nan))[place] = values
    return whole


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("group", [EMA, RAW])
def test_weights_are_the_parents_and_all_else_is_new(
    recipe: Recipe, parent: Path, one_process: Processes, group: str, precision: str
) -> None:
    child = Trainer.of(child_of(recipe, parent, init_weights=group, precision=precision), one_process)
    stored = tensors.load_whole(Checkpoint.open(parent).path, group)
    assert equal(weights_of(child), stored)
    assert all(map(torch.equal, child.engine.ema.values, child.engine.masters.weights))
    assert child.engine.ema.num_updates == child.progress.step == child.progress.position.pack == 0
    assert not child.engine.masters.optimizer.optimizer.state
    for name, parameter in child.engine.encoder.named_parameters():
        if name == "embedding.word_embeddings.weight":  # what it computes with follows
            assert torch.equal(parameter, stored[name].to(parameter.dtype))


def test_another_objective_and_other_data(
    recipe: Recipe, parent: Path, one_process: Processes, write_proteins: Callable[..., Path]
) -> None:
    other = replace(
        child_of(recipe, parent, seed=5),
        objective=MaskedLM(),
        data=replace(recipe.data, train=str(write_proteins([30] * 50, seed=1, name="other"))),
    )
    assert Trainer.of(other, one_process).fit()


def logits(trainer: Trainer, pack: TokenBatch, time: float) -> torch.Tensor:
    times_S = torch.full(pack.stream_index_S.shape, time, dtype=torch.float64)
    noisy = NoisyBatch(clean=pack, tokens_T=pack.tokens_T, times_S=times_S, predicted_T=pack.scored_T)
    with torch.no_grad():
        return trainer.engine.encoder(noisy)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_added_time_conditioning_changes_no_bit_at_first(
    recipe: Recipe, one_process: Processes, make_pack: Callable[..., TokenBatch], precision: str, bias: bool
) -> None:
    recipe = replace(recipe, train=replace(recipe.train, precision=precision), model=replace(MODEL, bias=bias))
    trained = Trainer.of(recipe, one_process)
    trained.fit()
    of_parent = child_of(recipe, Path(recipe.output) / recipe.name, init_weights=RAW)
    timed = replace(of_parent, model=replace(recipe.model, time_conditioning=True), objective=FlowMatching())
    child, pack = Trainer.of(timed, one_process), make_pack([20, 30])
    expected = logits(trained, pack, 0.5)
    for time in (0.0, 0.7):
        assert torch.equal(logits(child, pack, time), expected)
    child.fit()  # and it learns to see the time
    assert not torch.equal(logits(child, pack, 0.0), logits(child, pack, 0.7))


def test_the_same_command_continues_to_the_bit(
    recipe: Recipe, parent: Path, one_process: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = {"max_steps": 6}
    Trainer.of(child_of(recipe, parent, name="straight", **longer), one_process).fit()
    Trainer.of(child_of(recipe, parent), one_process).fit()
    assert "beginning with the ema weights of" in capsys.readouterr().out
    origin = Checkpoint.open(Path(recipe.output) / "child").state["origin"]
    for path in parent.rglob("state.json"):  # it is no longer needed
        path.unlink()
    Trainer.of(child_of(recipe, parent, **longer), one_process).fit()
    said = capsys.readouterr().out
    assert f"train.init_from={parent} was for the beginning: this run goes on from its own checkpoint" in said
    straight, continued = (Checkpoint.open(Path(recipe.output) / name) for name in ("straight", "child"))
    assert continued.state["progress"] == straight.state["progress"]
    assert continued.state["origin"] == straight.state["origin"] == origin
    for group in (RAW, EMA, "exp_avg", "exp_avg_sq"):
        assert equal(*(tensors.load_whole(checkpoint.path, group) for checkpoint in (straight, continued)))


def test_the_origin_is_kept_and_shown(
    recipe: Recipe, parent: Path, one_process: Processes, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Checkpoint.open(parent)
    assert checkpoint.state["origin"] is None
    Trainer.of(child_of(recipe, parent), one_process).fit()
    child = Checkpoint.open(Path(recipe.output) / "child")
    checksum = checkpoint.state["files"]["tensors.json"]["blake2b"]
    assert child.state["origin"] == {"path": str(checkpoint.path), "step": 3, "weights": EMA, "tensors": checksum}
    capsys.readouterr()
    inspect(child.path)
    shown = re.sub(r"[\s│]", "", capsys.readouterr().out)
    assert f"beganwiththeemaweightsof{checkpoint.path},step3,checksumofitsindex{checksum}" in shown
    print_plan(child_of(recipe, parent), 1, None)
    assert "begins with" not in capsys.readouterr().out  # it would go on
    print_plan(child_of(recipe, parent, name="other"), 1, None)
    assert "begins with" in capsys.readouterr().out


def refused(recipe: Recipe, processes: Processes) -> str:
    with pytest.raises(ValueError, match=r"train\.init_from") as error:
        Trainer.of(recipe, processes)
    message = str(error.value)
    assert "\n" not in message
    assert not RunFolder(Path(recipe.output) / "child").checkpoints.exists()
    return message


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hidden_size": 48}, "model.hidden_size=32 there, 48 here; give model.hidden_size=32"),
        ({"num_layers": 3, "ffn_hidden_size": 128}, "model.num_layers=2 there, 3 here"),
        ({"bias": True}, "model.bias=false there, true here"),
        ({"head": "esm"}, "model.head=linear there, esm here"),
    ],
)
def test_another_model_is_refused_by_its_first_key(
    recipe: Recipe, parent: Path, one_process: Processes, changed: dict[str, Any], words: str
) -> None:
    other = replace(child_of(recipe, parent), model=replace(MODEL, **changed))
    assert words in refused(other, one_process)
    with pytest.raises(ValueError, match=words):
        print_plan(other, 1, None)


def test_dropped_time_conditioning_is_refused(recipe: Recipe, one_process: Processes) -> None:
    timed = replace(recipe, model=replace(MODEL, time_conditioning=True))
    Trainer.of(timed, one_process).fit()
    message = refused(child_of(recipe, Path(recipe.output) / recipe.name), one_process)
    assert "model.time_conditioning=true there, false here: it cannot be dropped" in message


def stripped(path: Path, folder: Path) -> None:
    """As `checkpoint strip` does, in processes that are joined already."""
    checkpoint, whole = Checkpoint.open(path), tensors.load_whole(path, EMA)
    folder.mkdir()
    files = tensors.save(folder, {EMA: [(tensors.whole_slice(*item), item[1]) for item in whole.items()]})
    replace(checkpoint, path=folder, state={**checkpoint.state, "files": files}).write()


def test_what_is_no_other_run_is_refused(recipe: Recipe, parent: Path, one_process: Processes, tmp_path: Path) -> None:
    latest = Checkpoint.open(parent).path
    for inside in (parent, latest, parent / ".." / parent.name):
        assert "is of this run itself" in refused(child_of(recipe, inside, name="parent"), one_process)
    assert "no checkpoint" in refused(child_of(recipe, tmp_path / "nothing"), one_process)
    stripped(latest, tmp_path / "small")
    message = refused(child_of(recipe, tmp_path / "small", init_weights=RAW), one_process)
    assert "holds ema, but no raw" in message
    assert Trainer.of(child_of(recipe, tmp_path / "small", name="of small"), one_process).fit()


@pytest.mark.parametrize("victim", ["state.json", "tensors.json", "00000.safetensors", "recipe.yaml"])
def test_a_damaged_checkpoint_is_refused(recipe: Recipe, parent: Path, one_process: Processes, victim: str) -> None:
    path = Checkpoint.open(parent).path / victim
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "damaged" in refused(child_of(recipe, parent), one_process)
