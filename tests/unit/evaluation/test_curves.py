"""What is counted of guesses, by hand and against chance."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from d2plm_megatron import config
from d2plm_megatron.batch import LossTerms, NoisyBatch, TokenBatch
from d2plm_megatron.evaluation.curves import Counting
from d2plm_megatron.objectives import build_process
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng

ALONE = SimpleNamespace(data_size=1)
MASKS = build_process(config.Absorbing()).path


@dataclass(frozen=True)
class Hiding:
    """Masks given places."""

    places: list[int]

    def corrupt(self, batch: TokenBatch, rng: KeyedRng) -> NoisyBatch:
        predicted_T = torch.zeros_like(batch.scored_T)
        predicted_T[self.places] = True
        times_S = torch.zeros_like(batch.stream_index_S, dtype=torch.float64)
        return NoisyBatch(
            clean=batch,
            tokens_T=batch.tokens_T.masked_fill(predicted_T, alphabet.MASK),
            times_S=times_S,
            predicted_T=predicted_T,
        )

    def loss(self, logits_TV: torch.Tensor, noisy: NoisyBatch) -> LossTerms:
        one = torch.tensor(1.0)
        return LossTerms(total=one, count=one, metrics={"nll": (one, one)})


def counted(objective, pack, logits_TV, path=MASKS):
    counting = Counting(objective, path)
    noisy = counting.corrupt(pack, KeyedRng(0, 0))
    terms = counting.loss(logits_TV, noisy)
    assert terms.metrics["nll"] == objective.loss(logits_TV, noisy).metrics["nll"]
    return counting.counted(ALONE)


def logits_of(shares: dict[str, float], tokens: int) -> torch.Tensor:
    """Everywhere these shares of letters; special tokens are by far the likeliest, which must not matter."""
    logits_V = torch.full((alphabet.SIZE,), -1e9)
    logits_V[alphabet.EOS] = 100.0
    for letter, share in shares.items():
        logits_V[alphabet.TOKENS.index(letter)] = math.log(share)
    return logits_V.expand(tokens, -1)


def test_counts_by_hand(pack_of):
    """Two of four residues are masked in one protein, and one of ten in the other, which weighs 10 / 1 to 4 / 2."""
    pack = pack_of("LLAG", "A" + 9 * "L", ends=True)
    curves = counted(Hiding([1, 3, 7]), pack, logits_of({"L": 0.55, "A": 0.35, "G": 0.1}, 18))
    few, half = curves.by_noise()
    assert (few["from"], few["to"]) == (0, 0.1) and (half["from"], half["to"]) == (0.4, 0.5)
    assert few["accuracy"] == 0 and few["nats_per_residue"] == pytest.approx(-math.log(0.35))
    assert half["accuracy"] == 0.5 and half["nats_per_residue"] == pytest.approx(-math.log(0.55 * 0.35) / 2)
    assert half["confidence"] == pytest.approx(0.55) and half["calibration_error"] == pytest.approx(0.05)
    assert half["perplexity"] == pytest.approx(1 / math.sqrt(0.55 * 0.35))
    calibration = curves.calibration()
    [only] = calibration["bins"]
    assert (only["from"], only["to"], only["share"]) == (0.5, 0.6, 1)
    assert only["accuracy"] == pytest.approx(2 / 14) and calibration["error"] == pytest.approx(0.55 - 2 / 14)
    residues = curves.by_residue()
    assert list(residues) == ["L", "A"]
    assert residues["L"] == pytest.approx(
        {
            "share": 2 / 14,
            "accuracy": 1,
            "confidence": 0.55,
            "nats_per_residue": -math.log(0.55),
            "perplexity": 1 / 0.55,
        }
    )
    assert residues["A"]["share"] == pytest.approx(12 / 14)


@pytest.mark.parametrize("sharper", [1.0, 2.0])
def test_calibration_of_guesses_that_are_as_sure_as_they_should_be_and_of_surer_ones(make_pack, sharper):
    pack, generator = make_pack([20_000], seed=3), torch.Generator().manual_seed(0)
    log_odds = 2 * torch.randn(20_000, 20, generator=generator)
    truth = torch.multinomial(log_odds.softmax(-1), 1, generator=generator)[:, 0]
    pack.tokens_T[:] = truth + alphabet.FIRST_CANONICAL
    logits_TV = torch.zeros(20_000, alphabet.SIZE)
    logits_TV[:, alphabet.CANONICAL] = sharper * log_odds
    curves = counted(Hiding(list(range(20_000))), pack, logits_TV)
    confidence = (sharper * log_odds).softmax(-1).max(-1).values.double().mean()
    expected = float(confidence - log_odds.softmax(-1).max(-1).values.double().mean())
    assert curves.calibration()["error"] == pytest.approx(expected, abs=0.015)
    assert curves.calibration()["error"] < 0.015 or sharper > 1
    assert sum(row["share"] for row in curves.calibration()["bins"]) == pytest.approx(1)
    [all_masked] = curves.by_noise()
    assert (all_masked["from"], all_masked["to"]) == (0.9, 1)


def test_noise_of_random_residues_is_told_by_the_time(make_pack):
    process = build_process(config.FlowMatching(source="uniform"))
    counting, logits_TV = Counting(process.likelihoods()["elbo"], process.path), torch.zeros(40, alphabet.SIZE)
    pack, seen = make_pack([40]), []
    for draw in range(200):
        noisy = counting.corrupt(pack, KeyedRng(draw, 0))
        counting.loss(logits_TV, noisy)
        seen.append(1 - float(noisy.times_S[0]))
    weights = counting.counted(ALONE).cells[..., 0].sum(1)
    expected = np.histogram(seen, bins=np.linspace(0, 1, 11))[0]
    assert weights.tolist() == (40 * expected).tolist()
    rows = counting.counted(ALONE).by_noise()
    assert all(row["nats_per_residue"] == pytest.approx(math.log(20), abs=1e-6) for row in rows)
