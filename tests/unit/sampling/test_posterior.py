import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import pad

from d2plm_megatron.objectives.metric_path import MetricPath
from d2plm_megatron.objectives.path import MixturePath
from d2plm_megatron.objectives.schedules import Odds, Polynomial
from d2plm_megatron.objectives.source import Uniform
from d2plm_megatron.proteins import distances
from d2plm_megatron.sampling.posterior import draw, truncated

SHARES = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


def shares_of(tokens_T: torch.Tensor) -> torch.Tensor:
    """Of L, A, G and V."""
    return tokens_T.bincount(minlength=33)[4:8].double() / len(tokens_T)


def chi_square(found: torch.Tensor, expected: torch.Tensor, number: int) -> float:
    return float((number * (found - expected) ** 2 / expected).sum())


def test_temperature_sharpens(walks, bare_pack, constant):
    """p^(1/T), so that T = 1/2 squares the shares, and the entropy rises with T."""
    entropies = []
    for temperature, power in ((0.25, 4), (0.5, 2), (1.0, 1), (2.0, 0.5), (10.0, 0.1)):
        tokens_T, _ = walks(bare_pack(4000, 1), constant, 2, temperature=temperature)
        expected, found = SHARES**power / (SHARES**power).sum(), shares_of(tokens_T)
        assert chi_square(found, expected, 4000) < 16.3  # 3 degrees of freedom, p = 0.001
        entropies.append(-float(torch.xlogy(found, found).sum()))
    assert entropies == sorted(entropies)


ODDS, FIRST = Odds(3, 0.9), distances.to_power(distances.blosum62(), 1.0)
PATHS = {
    "random residues": MixturePath(Polynomial(), Uniform(), 1e-3),
    "random residues, by Bayes": MixturePath(Polynomial(), Uniform(), 1e-3, by_bayes=True),
    "metric path": MetricPath(ODDS, FIRST, 1e-3),
    "metric path, by Bayes": MetricPath(ODDS, FIRST, 1e-3, by_bayes=True),
}


def knows_the_shares(path):
    """The exact posterior of residues by themselves: that of x_t, or without it."""

    def logits(noisy):
        logits_TV = torch.full((len(noisy.tokens_T), 33), -1e4, dtype=torch.float64)
        logits_TV[:, 4:8] = SHARES.log()
        return logits_TV if path.by_bayes else logits_TV + pad(path.log_evidence(noisy), (4, 9))

    return logits


@pytest.mark.parametrize("temperature", [0.1, 0.5, 3.0])
@pytest.mark.parametrize("name", PATHS)
def test_temperature_does_the_same_where_noise_is_residues(name, temperature, walks, bare_pack):
    """What is tempered is what the others say, and not what x_t itself says: p^(1/T) again."""
    path = PATHS[name]
    tokens_T, _ = walks(bare_pack(100, 20), knows_the_shares(path), 16, path=path, temperature=temperature)
    expected = SHARES ** (1 / temperature) / (SHARES ** (1 / temperature)).sum()
    found = shares_of(tokens_T)
    error = (expected * (1 - expected) / 2000).sqrt()
    assert ((found - expected).abs() < 4 * error + 0.03).all()  # of first order in the step


@pytest.mark.parametrize(("option", "kept"), [("top_k=1", 1), ("top_p=0.69", 2)])
@pytest.mark.parametrize("name", PATHS)
def test_truncation_does_the_same_where_noise_is_residues(name, option, kept, walks, bare_pack):
    path = PATHS[name]
    tokens_T, _ = walks(bare_pack(50, 20), knows_the_shares(path), 16, f"sampler.{option}", path=path)
    expected = SHARES * (torch.arange(4) < kept)
    assert (shares_of(tokens_T) - expected / expected.sum()).abs().max() < 4 * (0.25 / 1000) ** 0.5 + 0.03
    assert tokens_T.max() < 4 + kept


def test_quadratic_schedule_cools_as_it_goes(walks, bare_pack, constant):
    """In two steps half are drawn at T = 1, and half at T = 1/4, at which p^4 is drawn from."""
    tokens_T, _ = walks(bare_pack(8000, 1), constant, 2, "sampler.temperature_schedule=quadratic")
    expected = (SHARES + SHARES**4 / (SHARES**4).sum()) / 2
    assert chi_square(shares_of(tokens_T), expected, 8000) < 16.3
    last, _ = walks(bare_pack(100, 1), constant, 2, "sampler.temperature_schedule=quadratic", begin=0.99)
    assert set(last.tolist()) == {4}  # the likeliest alone, at T = 1e-4


@pytest.mark.parametrize(
    ("option", "kept"),
    [("top_k=1", 1), ("top_k=3", 3), ("top_k=20", 4), ("top_p=0.01", 1), ("top_p=0.39", 1), ("top_p=0.41", 2),
     ("top_p=0.7", 2), ("top_p=0.71", 3), ("top_p=1", 4)],
)  # fmt: skip
def test_truncation_keeps_the_likeliest(option, kept, walks, bare_pack, constant):
    tokens_T, _ = walks(bare_pack(4000, 1), constant, 2, f"sampler.{option}")
    expected = SHARES * (torch.arange(4) < kept)
    found = shares_of(tokens_T)
    assert int((found > 0).sum()) == kept
    assert chi_square(found[:kept], (expected / expected.sum())[:kept], 4000) < 16.3


def test_share_is_that_of_what_top_k_leaves():
    """As everywhere: first k, then the share of what is left. Here .4, .3, .2 become .44, .33, .22."""
    posterior_TV = torch.cat([SHARES, torch.zeros(16)])[None]
    assert truncated(posterior_TV, 0.42, 20)[0].count_nonzero() == 2
    assert truncated(posterior_TV, 0.42, 3)[0].count_nonzero() == 1


def test_draw_at_the_edges():
    posterior_TV = torch.zeros(6, 20, dtype=torch.float64)
    posterior_TV[:, [3, 7, 18]] = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    uniform_T = torch.tensor([2.0**-53, 0.25 - 1e-12, 0.25 + 1e-12, 0.75 + 1e-12, 1 - 2.0**-53, 1], dtype=torch.float64)
    assert draw(posterior_TV, uniform_T).tolist() == [7, 7, 11, 22, 22, 22]  # residue i has id 4 + i


@given(st.lists(st.floats(0, 1), min_size=20, max_size=20).filter(any), st.integers(0, 1 << 52))
def test_draw_inverts_the_distribution_function(weights, cell):
    posterior = torch.tensor([weights], dtype=torch.float64)
    posterior /= posterior.sum()
    uniform = (min(cell, (1 << 52) - 1) + 0.5) / (1 << 52)
    chosen = int(draw(posterior, torch.tensor([uniform], dtype=torch.float64))) - 4
    assert 0 <= chosen < 20 and weights[chosen] > 0
    assert sum(posterior[0, :chosen].tolist()) <= uniform + 1e-14
    assert sum(posterior[0, : chosen + 1].tolist()) >= uniform - 1e-14
