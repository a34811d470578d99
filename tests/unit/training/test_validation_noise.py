"""Validation meets the same noise every time, and on any number of processes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from d2plm_megatron import config
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.loader import validation_packs
from d2plm_megatron.objectives import build_process
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng
from d2plm_megatron.training.trainer import VALIDATION_SEED


@pytest.mark.parametrize("source", ["mask", "uniform"])
def test_every_share_of_the_packs_adds_up_to_the_same(source: str, write_proteins: Callable[..., Path]) -> None:
    proteins = IndexedProteins(write_proteins([20 + number for number in range(40)]))
    elbo = build_process(config.FlowMatching(source=source)).likelihoods()["elbo"]
    table_VV = torch.randn(alphabet.SIZE, alphabet.SIZE, generator=torch.Generator().manual_seed(2))
    options = config.Data(max_length_residues=50, tokens_per_pack=200)
    found = []
    for size in (1, 2, 3, 1):
        packs = [pack for rank in range(size) for pack in validation_packs(proteins, options, 30, rank, size)]
        noisy = [elbo.corrupt(pack, KeyedRng(VALIDATION_SEED, pack.epoch)) for pack in packs]
        terms = [elbo.loss(table_VV[pack.tokens_T], pack).metrics["nll"] for pack in noisy]
        found.append(sum(float(nats) for nats, _ in terms) / sum(int(count) for _, count in terms))
    assert found == pytest.approx([found[0]] * 4, rel=1e-12)
