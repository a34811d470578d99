"""Accumulating gradients over micro-batches is training on one larger batch."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Absorbing, FlowMatching, MaskedLM, Objective, Recipe
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.training.engine import Engine

LENGTHS = [[20, 30, 14], [64], [9, 40, 15], [33, 31]]
OBJECTIVES = {
    "absorbing": Absorbing(),
    "flow matching": FlowMatching(),
    "random residues": FlowMatching(source="uniform", loss="generalised_kl"),
    "mlm": MaskedLM(),
}


def _joined(packs: list[TokenBatch]) -> TokenBatch:
    """One pack with the proteins of all."""
    firsts = [sum(len(pack.lengths_S) for pack in packs[:number]) for number in range(len(packs))]
    names = ("tokens_T", "positions_T", "scored_T", "sample_ids_S", "stream_index_S")
    return TokenBatch(
        **{name: torch.cat([getattr(pack, name) for pack in packs]) for name in names},
        sequence_T=torch.cat([pack.sequence_T + first for pack, first in zip(packs, firsts, strict=True)]),
        lengths_S=tuple(length for pack in packs for length in pack.lengths_S),
        epoch=packs[0].epoch,
    )


def test_steps_may_differ_in_their_number_of_packs(
    small: Recipe, one_process: Processes, make_pack: Callable, backward: Callable
) -> None:
    """The gradients of a step are added up over ranks after its last pack, whichever that is."""
    engine = Engine(small, one_process)
    for num_packs in (2, 1, 3):
        backward(engine, [make_pack([20, 30], seed=i, first_sample=10 * i) for i in range(num_packs)])
        assert engine.update(loss=torch.ones(2)).stepped


@pytest.mark.parametrize("name", OBJECTIVES)
def test_micro_batches_are_one_larger_batch(
    name: str, small: Recipe, one_process: Processes, make_pack: Callable, backward: Callable
) -> None:
    """Loss, gradient norm and updated weights of 4 packs are those of one pack of 4 times the tokens."""
    objective: Objective = OBJECTIVES[name]
    timed = name == "random residues"
    recipe = replace(small, objective=objective, model=replace(small.model, time_conditioning=timed))
    packs = [make_pack(lengths, seed=i, first_sample=10 * i) for i, lengths in enumerate(LENGTHS)]
    losses, norms, weights = [], [], []
    for batch in (packs, [_joined(packs)]):
        engine = Engine(recipe, one_process)
        total, count = backward(engine, batch)["loss"]
        update = engine.update(loss=torch.ones(2))
        assert update.stepped
        losses.append((total, count))
        norms.append(update.norm)
        weights.append([weight.clone() for weight in engine.masters.weights])
    (total, count), (total_at_once, count_at_once) = losses
    assert count == count_at_once > 0
    assert total == pytest.approx(total_at_once, rel=1e-6)
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    for found, wanted in zip(*weights, strict=True):
        assert (found - wanted).norm() <= 1e-5 * wanted.norm()
