"""Boxes on disk, and checkpoints that others prepared to run code."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import WriteItemType

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.model.placement import Box
from d2plm_megatron.parallel.processes import Processes


class _Attack:
    """Unpickled, it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.proof),)


def _row(number: int, values: torch.Tensor) -> tuple[Box, torch.Tensor]:
    return Box("layers.weight", 0, (1, 4), (3, 4), (number, 0), (0, 0, 0)), values


@pytest.fixture
def saved(tmp_path: Path, one_process: Processes) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tensors.save(folder, {"weights": [_row(i, torch.arange(4.0).view(1, 4) + 4 * i) for i in range(3)]})
    return folder


def test_boxes_are_read_back_in_other_boxes(saved: Path) -> None:
    columns = torch.zeros(3, 2)
    box = Box("layers.weight", 0, (3, 2), (3, 4), (0, 1), (0, 0, 0))
    tensors.load(saved, {"weights": [(box, columns)]})
    assert columns.tolist() == [[1, 2], [5, 6], [9, 10]]


def test_whole_tensors_of_a_group(saved: Path) -> None:
    [(box, values)] = tensors.load_whole(saved, "weights")
    assert box.name == "layers.weight"
    assert values.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    with pytest.raises(ValueError, match="holds weights, but no average"):
        tensors.load_whole(saved, "average")


def test_values_may_change_once_copies_are_prepared(tmp_path: Path, one_process: Processes) -> None:
    (tmp_path / "checkpoint").mkdir()
    values = torch.ones(3, 4)
    box = Box("layers.weight", 0, (3, 4), (3, 4), (0, 0), (0, 0, 0))
    write = tensors.prepare(tmp_path / "checkpoint", {"weights": [(box, values)]}, copies=True)
    values.zero_()
    write(None)
    assert (tensors.load_whole(tmp_path / "checkpoint", "weights")[0][1] == 1).all()


def test_missing_and_differently_shaped_tensors_are_named(saved: Path) -> None:
    with pytest.raises(ValueError, match="checkpoint: holds weights, but no average"):
        tensors.load(saved, {"average": [_row(0, torch.zeros(1, 4))]})
    other = Box("layers.bias", 0, (4,), (4,), (0,), (0, 0, 0))
    with pytest.raises(ValueError, match=r"does not fit this model: it lacks weights\.layers\.bias"):
        tensors.load(saved, {"weights": [(other, torch.zeros(4))]})
    larger = Box("layers.weight", 0, (1, 4), (5, 4), (0, 0), (0, 0, 0))
    with pytest.raises(ValueError, match=r"weights\.layers\.weight has shape \(3, 4\), not \(5, 4\)"):
        tensors.load(saved, {"weights": [(larger, torch.zeros(1, 4))]})


def test_description_that_runs_code_is_refused(saved: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    (saved / ".metadata").write_bytes(pickle.dumps(_Attack(proof)))
    with pytest.raises(ValueError, match="could run code; refused"):
        tensors.load(saved, {"weights": [_row(0, torch.zeros(1, 4))]})
    assert not proof.exists()


class Asks:
    """Pickled as getattr(kind, name), as Python 3.11.2 does with members of enumerations."""

    def __init__(self, kind: Any, name: str) -> None:
        self.asked = kind, name

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, self.asked


def test_members_of_enumerations_are_read_and_no_other_attributes(saved: Path) -> None:
    def describe(asked: Asks) -> Metadata:
        (saved / ".metadata").write_bytes(pickle.dumps(Metadata({}, planner_data=asked)))
        return tensors.read_description(saved)

    assert describe(Asks(WriteItemType, "TENSOR")).planner_data is WriteItemType.TENSOR
    for kind, name in ((WriteItemType, "__class__"), (WriteItemType, "mro"), (torch.Size, "numel")):
        with pytest.raises(ValueError, match="could run code; refused"):
            describe(Asks(kind, name))


def test_common_state_that_runs_code_is_refused(saved: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save({"anything": _Attack(proof)}, saved / "common.pt")
    with pytest.raises(ValueError, match="asks to run code"):
        tensors.load(saved, {"weights": [_row(0, torch.zeros(1, 4))]})
    assert not proof.exists()


def test_tensor_file_that_runs_code_is_refused(saved: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    for path in saved.glob("*.distcp"):
        torch.save(_Attack(proof), path)
    with pytest.raises(ValueError, match="cannot be read"):
        tensors.load(saved, {"weights": [_row(0, torch.zeros(1, 4))]})
    assert not proof.exists()


def test_damaged_description_is_an_error_in_words(saved: Path) -> None:
    (saved / ".metadata").write_bytes(b"\x80\x04nothing")
    with pytest.raises(ValueError, match="not the description of a checkpoint"):
        tensors.read_description(saved)
