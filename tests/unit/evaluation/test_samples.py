"""Identity, the search for the nearest reference, and what is counted about samples."""

import math

import numpy as np
import pytest

from d2plm_megatron.evaluation.samples.novelty import (
    NUM_BASELINE,
    UNNAMED,
    count_families,
    measure_novelty,
    num_lookups,
    shuffled,
)
from d2plm_megatron.evaluation.samples.summary import divergence, summarise
from d2plm_megatron.proteins.alignment import align
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, NUM_CANONICAL
from d2plm_megatron.proteins.composition import composition, entropy
from d2plm_megatron.proteins.named import Protein
from d2plm_megatron.proteins.nearest import References


def random_protein(length: int, seed: int) -> str:
    """Canonical residues, evenly drawn."""
    return "".join(np.random.default_rng(seed).choice(list(CANONICAL_LETTERS), length))


def mutated(protein: str, places: range) -> str:
    """The protein with each residue of these places replaced by the next letter of the alphabet."""
    following = dict(zip(CANONICAL_LETTERS, CANONICAL_LETTERS[1:] + CANONICAL_LETTERS[0], strict=True))
    return "".join(following[letter] if place in places else letter for place, letter in enumerate(protein))


def without_some(protein: str, share: float, seed: int) -> str:
    """The protein with this share of its residues drawn anew."""
    rng = np.random.default_rng(seed)
    return "".join(rng.choice(list(CANONICAL_LETTERS)) if rng.random() < share else letter for letter in protein)


def test_a_protein_is_identical_to_itself():
    protein = random_protein(120, seed=0)
    found = align(protein, protein)
    assert found.identity == 1.0
    assert found.rows == (protein, protein)
    assert found.midline == protein


@pytest.mark.parametrize("places", [range(10, 110, 10), range(5, 115, 4), range(0, 120, 5)])
def test_planted_mutations_give_their_exact_share(places):
    protein = random_protein(120, seed=1)
    assert align(protein, mutated(protein, places)).identity == (120 - len(places)) / 120


def test_identity_is_a_share_of_the_shorter_protein_whichever_comes_first():
    protein = random_protein(150, seed=2)
    piece = protein[40:100]
    assert align(protein, piece).identity == align(piece, protein).identity == 1.0
    assert align(protein, piece).starts == (40, 0)


def test_a_gap_is_an_unmatched_column():
    protein = random_protein(100, seed=3)
    found = align(protein, protein[:50] + protein[55:])
    assert found.identity == 1.0
    assert found.rows == (protein, protein[:50] + 5 * "-" + protein[55:])
    assert found.midline[50:55] == 5 * " "


def test_shuffled_proteins_are_unrelated():
    protein = random_protein(200, seed=4)
    assert all(align(protein, other).identity < 0.3 for other in shuffled([protein], 20))


def test_proteins_without_a_similar_residue_have_no_alignment():
    found = align("WWWW", "GGGG")
    assert (found.identity, found.rows, found.midline) == (0.0, ("", ""), "")


def test_similar_residues_are_marked_and_unknown_ones_are_never_identical():
    found = align("MKTAYIAKQRXQI", "MKTAYLAKQRXQI")
    assert found.midline == "MKTAY+AKQR QI"
    assert found.num_identical == 11
    assert align("MKTUYIAKQR", "MKTUYIAKQR").num_identical == 9


@pytest.mark.parametrize("changed", [0.0, 0.3, 0.55])
def test_the_nearest_reference_is_found_among_decoys(changed):
    proteins = [random_protein(length, seed=length) for length in range(60, 360)]
    index = References(proteins)
    for number in (0, 120, 299):
        assert index.nearest(without_some(proteins[number], changed, seed=9)).number == number


def test_a_shifted_relative_with_an_insertion_is_found():
    proteins = [random_protein(120, seed=seed) for seed in range(300)]
    relative = random_protein(37, seed=1000) + proteins[7][20:70] + "GSGSG" + proteins[7][70:]
    assert References(proteins).nearest(without_some(relative, 0.3, seed=1)).number == 7


def test_a_reference_can_be_left_out_and_the_first_of_equals_is_taken():
    proteins = [random_protein(80, seed=5), random_protein(80, seed=6), random_protein(80, seed=5)]
    index = References(proteins)
    assert index.nearest(proteins[0]).number == 0
    assert index.nearest(proteins[0], leave_out=0).number == 2


def test_short_and_unknown_residues_can_be_looked_up():
    index = References(["M", "MKX", "XXXX", "MKTAYI"])
    assert index.nearest("MKTAY").number == 3
    assert index.nearest("X").alignment.identity == 0.0


def test_there_must_be_a_reference():
    with pytest.raises(ValueError, match="no reference"):
        References([])
    with pytest.raises(ValueError, match="left out"):
        References(["MKTAYI"]).nearest("MKTAYI", leave_out=0)


def test_composition_sums_to_one_and_counts_canonical_residues_alone():
    shares = composition(["LLA", "XXG"])
    assert shares.sum() == pytest.approx(1.0)
    assert shares[:3].tolist() == [0.5, 0.25, 0.25]
    assert composition([random_protein(1000, seed=7)]).shape == (NUM_CANONICAL,)
    with pytest.raises(ValueError, match="no canonical residue"):
        composition(["XXX"])


def test_entropy_lies_between_one_letter_and_even_odds():
    assert entropy("AAAA") == 0.0
    assert entropy(CANONICAL_LETTERS) == pytest.approx(math.log(20))


def test_divergence_is_zero_for_the_same_and_log_two_for_nothing_in_common():
    some, others = composition(["LLAG"]), composition(["VSER"])
    assert divergence(some, some) == 0.0
    assert divergence(some, others) == pytest.approx(math.log(2))
    assert divergence(some, others) == divergence(others, some)


def test_a_summary_counts():
    summary = summarise(["MKT", "MKT", "GGGGG"])
    assert (summary.proteins, summary.distinct, summary.lengths) == (3, 2, [3, 3, 5])
    assert summary.entropy_within == pytest.approx(2 * math.log(3) / 3)


def test_shuffling_keeps_the_composition_and_depends_on_the_seed_alone():
    proteins = [random_protein(50, seed=8), random_protein(70, seed=9)]
    made = shuffled(proteins, 5)
    assert [sorted(protein) for protein in made] == [sorted(proteins[i % 2]) for i in range(5)]
    assert made == shuffled(proteins, 5)
    assert made != shuffled(proteins, 5, seed=1)
    assert made[0] != made[2]


def test_novelty_tells_relatives_from_noise():
    ancestors = {name: random_protein(100, seed=ord(name)) for name in "AB"}
    references = [
        Protein(f"{family}{i}", family, without_some(ancestor, 0.2, seed=i))
        for family, ancestor in ancestors.items()
        for i in range(5)
    ]
    references.append(Protein("lonely", None, random_protein(100, seed=1)))
    sequences = [reference.sequence for reference in references]
    samples = [without_some(ancestors["A"], 0.4, seed=50 + i) for i in range(3)] + shuffled(sequences, 2, seed=3)
    looked_up: list[int] = []

    novelty = measure_novelty(samples, sequences, looked_up.append)

    assert novelty.is_recognised.tolist() == [True, True, True, False, False]
    assert set(novelty.ranked()[:3]) == {0, 1, 2}
    assert novelty.shuffled.shape == (NUM_BASELINE,)
    assert novelty.natural[:-1].min() > novelty.chance > novelty.natural[-1]
    assert sum(looked_up) == num_lookups(len(samples), len(sequences)) == 5 + NUM_BASELINE + 11
    found = {family.name: (family.samples, family.expected) for family in count_families(novelty, references)}
    assert list(found) == ["A", "B", UNNAMED]
    assert found["A"] == (3, pytest.approx(3 * 5 / 11))
