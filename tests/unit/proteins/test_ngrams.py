import math
from collections import Counter
from itertools import product

import numpy as np
import pytest

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, encode
from d2plm_megatron.proteins.ngrams import LONGEST, STRENGTHS, NGrams


def family(number: int, seed: int = 0) -> list[str]:
    """Proteins in which a residue depends on the one before, with letters that are not canonical here and there."""
    rng, proteins = np.random.default_rng(seed), []
    for _ in range(number):
        letters = ["M"]
        for _ in range(int(rng.integers(1, 90))):
            near = CANONICAL_LETTERS[(CANONICAL_LETTERS.find(letters[-1]) + int(rng.integers(4))) % 20]
            letters.append(near if rng.random() < 0.7 else rng.choice(list("LAGVSERTXB")))
        proteins.append("".join(letters))
    return proteins


def fitted(proteins: list[str], order: int) -> NGrams:
    return NGrams.fit(map(encode, proteins), order)


def contexts_of(protein: str, place: int, length: int) -> str:
    letters = "^" * length + "".join(letter if letter in CANONICAL_LETTERS else "?" for letter in protein)
    return letters[place : place + length]


def slow_probability(proteins: list[str], strengths: tuple[float, ...], protein: str, place: int) -> float:
    """The formula by dictionaries, one place at a time."""
    probability = 1 / 20
    for order, strength in enumerate(strengths, start=1):
        pairs, totals = Counter(), Counter()
        for other in proteins:
            for here, letter in enumerate(other):
                if letter in CANONICAL_LETTERS:
                    context = contexts_of(other, here, order - 1)
                    pairs[context + letter] += 1
                    totals[context] += 1
        context = contexts_of(protein, place, order - 1)
        probability = (pairs[context + protein[place]] + strength * probability) / (totals[context] + strength)
    return probability


@pytest.mark.parametrize("order", range(1, LONGEST + 1))
def test_equals_dictionaries(order):
    train, [held_out] = family(12), family(1, seed=7)
    held_out = held_out[:12] + "XA"
    model = fitted(train, order)
    expected = [
        -math.log(slow_probability(train, model.strengths, held_out, place)) if letter in CANONICAL_LETTERS else 0
        for place, letter in enumerate(held_out)
    ]
    np.testing.assert_allclose(model.nats(encode(held_out)), expected, rtol=1e-12)


def test_probabilities_after_any_context_sum_to_one():
    model = fitted(family(40), 3)
    for context in ["", "M", *map("".join, product("MLX", "MACX"))]:
        total = sum(math.exp(-model.nats(encode(context + letter))[-1]) for letter in CANONICAL_LETTERS)
        assert total == pytest.approx(1, abs=1e-12)


def test_orders_are_fitted_at_once_as_one_by_one():
    train, held_out = family(50), encode(family(1, seed=3)[0])
    together = fitted(train, 4)
    for order in range(1, 5):
        alone = fitted(train, order)
        assert alone.strengths == together.strengths[:order]
        np.testing.assert_array_equal(alone.nats(held_out), together.nats_of_orders(held_out)[order - 1])


def test_batches_make_no_difference(monkeypatch):
    train, held_out = family(57), encode(family(1, seed=3)[0])
    whole = fitted(train, 3)
    monkeypatch.setattr("d2plm_megatron.proteins.ngrams._RESIDUES_AT_ONCE", 70)
    parts = fitted(train, 3)
    assert parts.strengths == whole.strengths
    np.testing.assert_array_equal(parts.nats(held_out), whole.nats(held_out))


def test_finds_what_residues_tell_about_the_next():
    train, held_out = family(400), [encode(protein) for protein in family(40, seed=5)]
    model = fitted(train, 3)
    first, second, third = sum(model.nats_of_orders(protein).sum(axis=1) for protein in held_out)
    assert second < 0.9 * first  # each follows from the one before, and from nothing else
    assert third == pytest.approx(second, rel=0.01)
    assert model.strengths[2] > 4 * model.strengths[1]


def test_relatives_within_training_do_not_weaken_the_smoothing():
    rng = np.random.default_rng(1)
    lone = ["".join(rng.choice(list(CANONICAL_LETTERS), 60)) for _ in range(300)]
    twins = lone + lone[5:95]  # of the tenth some have a twin in the rest; of held-out proteins, none
    held_out = encode("".join(rng.choice(list(CANONICAL_LETTERS), 2000)))
    assert fitted(twins, 4).nats(held_out).mean() < math.log(20) + 0.01


def test_refuses_orders_and_proteins_without_residues():
    for order in (0, LONGEST + 1):
        with pytest.raises(ValueError, match=f"order {order}: expected 1 to {LONGEST}"):
            fitted(["MKT"], order)
    for proteins in ([], ["XX"]):
        with pytest.raises(ValueError, match="no canonical residue"):
            fitted(proteins, 2)
    assert fitted(["M"], 2).strengths == (1.0, STRENGTHS[0])  # of one protein nothing can be chosen
