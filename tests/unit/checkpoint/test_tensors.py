"""Slices on disk, and files that others prepared."""

import builtins
import os
import pickle
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.model.sharding import TensorSlice
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.runs import tensor_index as index
from d2plm_megatron.runs.integrity import Damaged

FILE = "00000.safetensors"


def _row(number: int, values: torch.Tensor) -> tuple[TensorSlice, torch.Tensor]:
    return TensorSlice("layers.weight", 0, (1, 4), (3, 4), (number, 0), (0, 0, 0)), values


@pytest.fixture
def saved(tmp_path: Path, one_process: Processes) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tensors.save(folder, {"weights": [_row(i, torch.arange(4.0).view(1, 4) + 4 * i) for i in range(3)]})
    return folder


def test_boxes_are_read_back_in_other_boxes(saved: Path) -> None:
    columns = torch.zeros(3, 2)
    slice_ = TensorSlice("layers.weight", 0, (3, 2), (3, 4), (0, 1), (0, 0, 0))
    tensors.load(saved, {"weights": [(slice_, columns)]})
    assert columns.tolist() == [[1, 2], [5, 6], [9, 10]]


def test_whole_tensors_of_a_group(saved: Path) -> None:
    whole = tensors.load_whole(saved, "weights")
    assert list(whole) == ["layers.weight"]
    assert whole["layers.weight"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    with pytest.raises(ValueError, match="holds weights, but no ema"):
        tensors.load_whole(saved, "ema")


@pytest.mark.parametrize("dtype", tensors.DTYPES.values(), ids=str)
def test_every_precision_is_kept_to_the_bit(tmp_path: Path, one_process: Processes, dtype: torch.dtype) -> None:
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    tensors.save(tmp_path, {"weights": [(tensors.whole_slice("layer", values), values)]})
    assert torch.equal(tensors.load_whole(tmp_path, "weights")["layer"], values)


def test_anybody_can_read_it(saved: Path) -> None:
    """With safetensors alone: the name of an entry says where in the whole tensor it belongs."""
    entries = load_file(saved / FILE)
    assert entries["weights.layers.weight[1:2,0:4]"].tolist() == [[4, 5, 6, 7]]
    assert len(entries) == 3


def test_what_another_process_saves_is_left_to_it(tmp_path: Path, one_process: Processes) -> None:
    mine, other = _row(0, torch.ones(1, 4)), TensorSlice("layers.weight", 0, (1, 4), (3, 4), (1, 0), (0, 0, 1))
    tensors.save(tmp_path, {"weights": [mine, (other, torch.zeros(1, 4))]})
    with safe_open(tmp_path / FILE, "pt") as entries:
        assert list(entries.keys()) == ["weights.layers.weight[0:1,0:4]"]


def test_the_last_to_learn_that_all_is_written_needs_the_folder_no_more(
    saved: Path, one_process: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main process gives it its final name at once."""
    blocks = []

    @contextmanager
    def until_the_main_process_is_done(group: object = None) -> Iterator[None]:
        yield
        blocks.append(group)
        if len(blocks) == 2:
            saved.rename(saved.with_name("final"))

    monkeypatch.setattr(tensors, "failing_together", until_the_main_process_is_done)
    monkeypatch.setattr(tensors.dist, "get_rank", lambda group=None: 1)
    files = tensors.save(saved, {"weights": [_row(0, torch.ones(1, 4))]})
    assert list(files) == ["00001.safetensors"]
    assert (saved.with_name("final") / "00001.safetensors").exists()


def test_values_may_change_once_copies_are_prepared(tmp_path: Path, one_process: Processes) -> None:
    values = torch.ones(3, 4)
    write = tensors.prepare(tmp_path, {"weights": [(tensors.whole_slice("layer", values), values)]}, copies=True)
    values.zero_()
    write(None)
    assert (tensors.load_whole(tmp_path, "weights")["layer"] == 1).all()


def test_missing_and_differently_shaped_tensors_are_named(saved: Path) -> None:
    with pytest.raises(ValueError, match="checkpoint: holds weights, but no ema"):
        tensors.load(saved, {"ema": [_row(0, torch.zeros(1, 4))]})
    other = TensorSlice("layers.bias", 0, (4,), (4,), (0,), (0, 0, 0))
    with pytest.raises(ValueError, match=r"does not fit this model: it lacks weights\.layers\.bias"):
        tensors.load(saved, {"weights": [(other, torch.zeros(4))]})
    larger = TensorSlice("layers.weight", 0, (1, 4), (5, 4), (0, 0), (0, 0, 0))
    with pytest.raises(ValueError, match=r"weights\.layers\.weight has shape \(3, 4\), not \(5, 4\)"):
        tensors.load(saved, {"weights": [(larger, torch.zeros(1, 4))]})


def test_pieces_that_lie_upon_each_other_are_damage(saved: Path) -> None:
    """As large together as the whole, which the index alone can not tell from right ones."""
    text = (saved / index.NAME).read_text().replace("[2, 0]", "[1, 0]")
    (saved / index.NAME).write_text(text)
    with pytest.raises(Damaged, match=r"weights\.layers\.weight is not whole"):
        tensors.load(saved, {"weights": [_row(2, torch.zeros(1, 4))]})


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {f"weights.layers.weight[{i}:{i + 1},0:4]": torch.zeros(4, 1) for i in range(3)},
        {f"weights.layers.weight[{i}:{i + 1},0:4]": torch.zeros(1, 4, dtype=torch.int32) for i in range(3)},
    ],
    ids=["missing", "shape", "dtype"],
)
def test_file_unlike_the_index_is_damage(saved: Path, entries: dict[str, torch.Tensor]) -> None:
    save_file({**entries, "more": torch.zeros(99)}, saved / FILE)
    for read in (lambda: tensors.load_whole(saved, "weights"), lambda: tensors.check(saved, [FILE])):
        with pytest.raises(Damaged, match=f"{FILE}: damaged"):
            read()


class _Attack:
    """Unpickled, it makes a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.proof),)


def test_file_that_runs_code_when_unpickled_is_damage(saved: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save([_Attack(proof), torch.zeros(99)], saved / FILE)
    with pytest.raises(Damaged, match=f"{FILE}: damaged"):
        tensors.load(saved, {"weights": [_row(0, torch.zeros(1, 4))]})
    assert not proof.exists()


def test_nothing_is_unpickled(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by us nor by a library that we call."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a checkpoint was unpickled")

    for module, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
        (builtins, "eval"),
    ):
        monkeypatch.setattr(module, name, refuse)
    assert tensors.load_whole(saved, "weights")["layers.weight"].shape == (3, 4)
    tensors.check(saved, [FILE])


def test_full_disk_is_a_system_error(tmp_path: Path, one_process: Processes) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        values = torch.zeros(100_000)
        with pytest.raises(OSError, match="No space left on device") as raised:
            tensors.save(tmp_path, {"weights": [(tensors.whole_slice("layer", values), values)]})
        assert raised.value.errno == 28
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
