"""Long proteins in windows: every residue is scored once, after all that is context for it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.data.windows import pack_windows, windows
from d2plm_megatron.proteins import alphabet


@given(st.integers(1, 400), st.integers(2, 60))
def test_every_residue_is_scored_once_by_a_window_that_has_half_of_itself_before(length: int, longest: int) -> None:
    cut = list(windows(length, longest))
    assert [place for window in cut for place in range(window.scored_from, window.stop)] == list(range(length))
    assert (cut[0].start, cut[-1].stop) == (0, length)
    assert all(window.stop - window.start == min(length, longest) for window in cut)
    assert all(window.scored_from - window.start >= longest - longest // 2 for window in cut[1:])


def test_tokens_of_windows() -> None:
    proteins = [alphabet.encode("MKTVRQGLLA"), alphabet.encode("AX")]
    packs, protein_of_part = pack_windows(proteins, 6, 14)
    parts = [
        (alphabet.decode(tokens.numpy()), "".join(str(int(value)) for value in scored))
        for pack in packs
        for tokens, scored in zip(
            pack.tokens_T.split(list(pack.lengths_S)), pack.scored_T.split(list(pack.lengths_S)), strict=True
        )
    ]
    assert parts == [
        ("<cls>MKTVRQ", "0111111"),
        ("VRQGLL", "000111"),
        ("RQGLLA<eos>", "0000010"),
        ("<cls>AX<eos>", "0100"),
    ]
    assert protein_of_part.tolist() == [0, 0, 0, 1]
    assert [pack.lengths_S for pack in packs] == [(7, 6), (7, 4)]
    assert packs[1].positions_T.tolist() == [*range(7), *range(4)]
    assert torch.cat([pack.sample_ids_S for pack in packs]).tolist() == [0, 1, 2, 3]


def test_a_window_that_is_larger_than_a_pack_has_one_of_its_own() -> None:
    packs, _ = pack_windows([np.full(number, 5, dtype=np.uint8) for number in (3, 30, 3)], 30, 10)
    assert [pack.lengths_S for pack in packs] == [(5,), (32,), (5,)]


@pytest.mark.parametrize(("length", "number"), [(10, 1), (11, 2), (15, 2), (16, 3), (20, 3)])
def test_number_of_windows(length: int, number: int) -> None:
    assert len(list(windows(length, 10))) == number
