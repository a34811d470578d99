"""N-grams that adapt to the composition of a protein."""

import numpy as np
import pytest

from d2plm_megatron.proteins.adapted import STRENGTHS, AdaptedNGrams
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, encode
from d2plm_megatron.proteins.ngrams import NGrams


def proteins(number: int, concentration: float, seed: int = 0) -> list[np.ndarray]:
    """Proteins of 80 residues, each from shares of its own: the smaller the concentration, the more they differ."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(20, concentration), number)
    return [encode("".join(rng.choice(list(CANONICAL_LETTERS), 80, p=own))) for own in shares]


def fitted(train: list[np.ndarray], order: int) -> AdaptedNGrams:
    return AdaptedNGrams.fit(train, NGrams.fit(train, order))


def test_equals_the_formula_one_residue_at_a_time():
    model = fitted(proteins(40, 1.0), 3)
    letters = "MKTXLLKA"
    canonical = letters.replace("X", "")
    unigram = np.exp([-model.ngrams.nats_of_orders(encode(letter))[0, 0] for letter in CANONICAL_LETTERS])
    for order, strength in enumerate(model.strengths):
        found = model.nats_of_orders(encode(letters))[order]
        for place, letter in enumerate(canonical):
            before = letters[: [at for at, own in enumerate(letters) if own != "X"][place]]
            counts = np.array([before.count(own) for own in CANONICAL_LETTERS])
            so_far = (counts + strength * unigram) / (counts.sum() + strength)
            said = [model.ngrams.nats_of_orders(encode(before + own))[order, -1] for own in CANONICAL_LETTERS]
            chances = np.exp(-np.array(said)) * so_far / unigram
            expected = -np.log(chances[CANONICAL_LETTERS.index(letter)] / chances.sum())
            assert found[place] == pytest.approx(expected, rel=1e-12)


def test_distributions_say_what_nats_say():
    model, held_out = NGrams.fit(proteins(40, 1.0), 4), encode("MKXTLLKAWW")
    distributions = model.distributions(held_out)
    np.testing.assert_allclose(distributions.sum(axis=-1), 1, rtol=1e-12)
    there = np.array([CANONICAL_LETTERS.index(letter) for letter in "MKTLLKAWW"])
    expected = np.delete(model.nats_of_orders(held_out), 2, axis=1)
    np.testing.assert_allclose(-np.log(distributions[:, np.arange(9), there]), expected, rtol=1e-12)


def test_adapts_as_far_as_proteins_differ():
    of_their_own, alike = (fitted(proteins(300, concentration), 2) for concentration in (1.0, 1e6))
    held_out = proteins(50, 1.0, seed=1)
    nats = [np.mean([own.nats_of_orders(p)[0].mean() for p in held_out]) for own in (of_their_own, alike)]
    assert of_their_own.strengths[0] <= 64 and alike.strengths[0] == STRENGTHS[0]
    unadapted = np.mean([of_their_own.ngrams.nats(p).mean() for p in held_out])
    assert nats[0] < nats[1] <= unadapted + 0.01 and nats[0] < unadapted - 0.1


def test_few_and_empty_proteins():
    assert len(fitted(proteins(1, 1.0), 2).strengths) == 2
    assert fitted(proteins(30, 1.0), 2).nats_of_orders(encode("XX")).shape == (2, 0)
