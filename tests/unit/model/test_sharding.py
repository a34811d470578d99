"""Slices: a run of a flattened local parameter, cut out, is where a slice of the whole parameter says it is."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.model.sharding import TensorSlice, slices_by_parameter


@st.composite
def slices(draw) -> TensorSlice:
    """Vectors, matrices, and a layer's row of either in a stack, anywhere in the whole and in the local storage."""
    inner = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=2)))
    shape = (1,) * draw(st.integers(0, 2)) + inner
    before = [draw(st.integers(0, 3)) for _ in shape]
    after = [draw(st.integers(0, 3)) for _ in shape]
    whole = tuple(b + size + a for b, size, a in zip(before, shape, after, strict=True))
    return TensorSlice("weight", draw(st.integers(0, 20)), shape, whole, tuple(before), (0, 0, 1))


@given(slices(), st.integers(-3, 80), st.integers(0, 80))
def test_cut_boxes_are_the_run(slice_: TensorSlice, start: int, size: int) -> None:
    whole = np.arange(math.prod(slice_.whole_shape)).reshape(slice_.whole_shape)
    local = np.concatenate([np.full(slice_.start, -1), block(whole, slice_).ravel()])
    stop = start + size
    parts = slice_.slice(start, stop)
    first, last = max(start, slice_.start), min(stop, slice_.stop)
    bounds = [first, *(part.stop for part in parts)] if first < last else []
    assert [part.start for part in parts] == bounds[:-1]  # end to end, so disjoint, ...
    assert not parts or parts[-1].stop == last  # ... and all of the run
    assert bool(parts) == (first < last) and len(parts) <= 3
    for part in parts:
        assert np.array_equal(block(whole, part).ravel(), local[part.start : part.stop])
        assert (part.name, part.whole_shape, part.replica) == (slice_.name, slice_.whole_shape, slice_.replica)


def block(whole: np.ndarray, slice_: TensorSlice) -> np.ndarray:
    """What the slice holds of the whole parameter."""
    return whole[tuple(slice(first, first + size) for first, size in zip(slice_.offset, slice_.shape, strict=True))]


def test_one_process_holds_every_number_once(build, kind: str) -> None:
    encoder = build(kind)
    held: dict[str, np.ndarray] = {}
    for name, parts in slices_by_parameter(encoder).items():
        assert parts[0].start == 0 and parts[-1].stop == encoder.get_parameter(name).numel()
        assert all(left.stop == right.start for left, right in pairwise(parts))
        for part in parts:
            block(held.setdefault(part.name, np.zeros(part.whole_shape, dtype=int)), part)[...] += 1
    assert all((counts == 1).all() for counts in held.values())
