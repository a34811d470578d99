"""d2plm checkpoint: what it shows, finds and writes of a run that was trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.checkpoint.__main__ import consolidate, inspect, strip, verify
from d2plm_megatron.config import Data, Model, Parallel, Recipe, Train
from d2plm_megatron.config.sizing import num_parameters
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.runs import tensor_index as index
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.tensor_index import EMA, RAW
from d2plm_megatron.training.trainer import Trainer


@pytest.fixture
def trained(write_proteins: Callable[..., Path], tmp_path: Path) -> Checkpoint:
    recipe = Recipe(
        output=str(tmp_path),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        data=Data(train=str(write_proteins([40] * 30)), max_length_residues=40, tokens_per_pack=64),
        train=Train(max_steps=2, precision="fp32", global_batch_tokens=128),
    )
    with parallel_context(Parallel()) as process:
        Trainer.of(recipe, process).fit()
    return Checkpoint.open(tmp_path / recipe.name)


def test_inspect_shows_where_the_run_stood(trained: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    inspect(trained.path)
    shown = capsys.readouterr().out
    assert "2, of which 0 were skipped" in shown
    assert all(group in shown for group in (EMA, RAW, "exp_avg_sq"))
    numbers = f"{num_parameters(trained.recipe.model):,} numbers and {2 * 95 * 32:,} of padding"
    assert " ".join(shown.replace("│", "").split()).count(numbers) == len(index.read(trained.path))


def test_verify_finds_a_changed_byte(trained: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    verify(trained.path)
    assert "whole" in capsys.readouterr().out
    victim = next(trained.path.glob("*.safetensors"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(ValueError, match=f"damaged: {victim.name} has changed"):
        verify(trained.path)


def test_strip_keeps_the_average_alone_and_overwrites_nothing(trained: Checkpoint, tmp_path: Path) -> None:
    strip(trained.path, tmp_path / "small")
    small = Checkpoint.open(tmp_path / "small")
    small.check_whole()
    assert list(index.read(small.path)) == [EMA]
    kept, expected = tensors.load_whole(small.path, EMA), tensors.load_whole(trained.path, EMA)
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], expected[name]) for name in expected)
    for existing in (trained.path, trained.path.parents[1], tmp_path):
        with pytest.raises(ValueError, match="exists already"):
            strip(trained.path, existing)
    trained.check_whole()


def test_no_file_of_the_checkpoint_is_replaced(trained: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(next(trained.path.glob("*.safetensors")))
    for output, message in ((tmp_path / "link", "read or written by this command"), (tmp_path, "is a directory")):
        with pytest.raises(ValueError, match=message):
            consolidate(trained.path, output)
    with pytest.raises(ValueError, match="is a file, so that nothing can be below it"):
        strip(trained.path, tmp_path / "link" / "small")
    trained.check_whole()


def test_consolidated_file_holds_the_tensors_and_the_recipe(trained: Checkpoint, tmp_path: Path) -> None:
    consolidate(trained.path, tmp_path / "one.safetensors", weights=RAW)
    expected = tensors.load_whole(trained.path, RAW)
    with safe_open(tmp_path / "one.safetensors", "pt") as file:
        assert set(file.keys()) == set(expected)
        assert all(torch.equal(file.get_tensor(name), expected[name]) for name in expected)
        assert file.metadata()["step"] == "2"
        assert "num_layers: 1" in file.metadata()["recipe"]
