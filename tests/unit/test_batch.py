"""What a pack says of itself."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from d2plm_megatron.batch import TokenBatch


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_bounds_are_where_proteins_begin_and_the_last_one_ends(pack_of: Callable[..., TokenBatch], lengths) -> None:
    bounds_S = pack_of(*("A" * length for length in lengths)).bounds_S
    assert bounds_S.dtype == torch.int32
    assert bounds_S.tolist() == [sum(lengths[:place]) for place in range(len(lengths) + 1)]


def test_a_pack_is_pinned_for_the_gpu_and_left_alone_without_one(
    make_pack: Callable[..., TokenBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = make_pack([5, 7])
    assert pack.pinned() is pack
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor + 1)
    pinned = pack.pinned()
    assert all(torch.equal(getattr(pinned, name), x + 1) for name, x in vars(pack).items() if isinstance(x, Tensor))
    assert pinned.lengths_S == pack.lengths_S
