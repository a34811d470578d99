import math

import pytest
import torch

from d2plm_megatron.objectives.objective import canonical_log_posterior, hits, log_probability
from d2plm_megatron.proteins import alphabet


def test_all_probability_is_on_the_canonical_residues():
    logits_TV = torch.randn(50, alphabet.SIZE, generator=torch.Generator().manual_seed(0)) * 10
    posterior_TV = canonical_log_posterior(logits_TV).exp()
    others = torch.ones(alphabet.SIZE, dtype=torch.bool)
    others[4:24] = False
    assert (posterior_TV[:, others] == 0).all()
    weights = logits_TV[:, 4:24].double().exp()
    expected = (weights / weights.sum(1, keepdim=True)).float()
    torch.testing.assert_close(posterior_TV[:, 4:24], expected, rtol=1e-4, atol=1e-7)


def test_log_probability_by_hand(pack_of, masked):
    pack = pack_of("LA", ends=True)
    log_posterior_TV = torch.full((4, alphabet.SIZE), -torch.inf)
    log_posterior_TV[:, alphabet.encode("LA").tolist()] = torch.tensor([0.25, 0.75]).log()
    where_T = torch.tensor([False, True, True, False])
    found = log_probability(log_posterior_TV, pack.tokens_T, where_T)
    assert found.tolist() == pytest.approx([0, math.log(0.25), math.log(0.75), 0])
    right, number = hits(log_posterior_TV, masked(pack, [1, 2], 0.5))
    assert (int(right), int(number)) == (1, 2)
