"""The index of a checkpoint: what cannot be as it says is refused before memory is taken."""

import copy
import json
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.runs import tensor_index as index
from d2plm_megatron.runs.integrity import Damaged
from d2plm_megatron.runs.tensor_index import Piece, Stored

FILE = "00000.safetensors"
HALVES = [{"file": FILE, "offset": [0, 0], "shape": [1, 4]}, {"file": FILE, "offset": [1, 0], "shape": [1, 4]}]
SOUND = {"weights": {"layer": {"dtype": "F32", "shape": [2, 4], "pieces": HALVES}}}


def read(folder: Path, values: Any) -> index.Index:
    (folder / FILE).write_bytes(bytes(40))
    (folder / index.NAME).write_text(json.dumps(values))
    return index.read(folder)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    found = read(tmp_path, SOUND)
    assert found["weights"]["layer"].shape == (2, 4)
    index.write(tmp_path, found)
    assert index.read(tmp_path) == found
    assert found["weights"]["layer"].pieces[1].key("weights", "layer") == "weights.layer[1:2,0:4]"


def changed(*path: Any, to: Any) -> dict:
    values: Any = copy.deepcopy(SOUND)
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return values


def test_moments_may_be_of_what_trains_alone(tmp_path: Path) -> None:
    """Less than the whole will do for them, but not more, and not nothing."""
    of_layer = SOUND["weights"]["layer"]
    found = read(tmp_path, {"exp_avg": {"layer": {**of_layer, "pieces": HALVES[1:]}}})
    assert [piece.offset for piece in found["exp_avg"]["layer"].pieces] == [(1, 0)]
    for pieces in ([], [*HALVES, HALVES[0]]):
        with pytest.raises(Damaged):
            read(tmp_path, {"exp_avg": {"layer": {**of_layer, "pieces": pieces}}})
    with pytest.raises(Damaged):
        read(tmp_path, {"ema": {"layer": {**of_layer, "pieces": HALVES[1:]}}})


LAYER = ("weights", "layer")
PIECE = (*LAYER, "pieces", 0)


@pytest.mark.parametrize(
    "values",
    [
        {},
        [],
        changed("weights", to=[]),
        changed(*LAYER, "dtype", to="F31"),
        changed(*LAYER, "dtype", to="F64"),  # larger than the file
        changed(*LAYER, "shape", to=[2, 5]),
        changed(*LAYER, "shape", to=[2, 2**40]),
        changed(*LAYER, "shape", to=[]),
        changed(*LAYER, "shape", to=[2, 4, 1]),
        changed(*LAYER, "pieces", to=[]),
        changed(*LAYER, "pieces", to=HALVES[:1]),
        changed(*LAYER, "pieces", to=[{"file": FILE, "offset": [0, 0], "shape": [2**40, 2**40]}]),
        changed(*PIECE, "offset", to=[2, 0]),
        changed(*PIECE, "offset", to=[-1, 0]),
        changed(*PIECE, "offset", to=[0]),
        changed(*PIECE, "offset", to=[True, 0]),
        changed(*PIECE, "shape", to=[1, 0]),
        changed(*PIECE, "shape", to=[1, 1e9]),
        changed(*PIECE, "file", to="00001.safetensors"),
        changed(*PIECE, "file", to=f"../{FILE}"),
        changed(*PIECE, "file", to=f"/tmp/{FILE}"),
        changed(*PIECE, "file", to="recipe.yaml"),
    ],
)
def test_what_cannot_be_is_damage(tmp_path: Path, values: Any) -> None:
    with pytest.raises(Damaged, match=r"tensors\.json: damaged"):
        read(tmp_path, values)


def test_pickle_in_its_place_is_damage(tmp_path: Path) -> None:
    (tmp_path / index.NAME).write_bytes(pickle.dumps(SOUND))
    with pytest.raises(Damaged, match="no JSON"):
        index.read(tmp_path)


def slices(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(offset, shape) of a slice inside a tensor."""

    def along(size: int) -> st.SearchStrategy[tuple[int, int]]:
        return st.tuples(st.integers(0, size - 1), st.integers(1, size)).filter(lambda pair: sum(pair) <= size)

    return st.tuples(*map(along, shape)).map(lambda pairs: tuple(zip(*pairs, strict=True)))  # type: ignore[arg-type,return-value]


@given(st.data(), st.tuples(st.integers(1, 4), st.integers(1, 6)))
def test_overlaps_are_what_is_common_to_both(data: st.DataObject, shape: tuple[int, int]) -> None:
    rows = [Piece(FILE, (row, 0), (1, shape[1])) for row in range(shape[0])]
    offset, size = data.draw(slices(shape))
    found = {}
    for piece, part, place in Stored("F32", shape, tuple(rows)).overlaps(offset, size):
        for column in range(*part[1].indices(shape[1])):
            found[piece.offset[0], column] = (place[0].start, place[1].start + column - part[1].start)
    cells = product(range(size[0]), range(size[1]))
    assert found == {(offset[0] + row, offset[1] + column): (row, column) for row, column in cells}
