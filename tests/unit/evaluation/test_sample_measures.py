"""Measures of samples against values by hand, closed forms and enumeration."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.evaluation.samples import letters
from d2plm_megatron.evaluation.samples.bootstrap import Interval, interval, of_ratio
from d2plm_megatron.evaluation.samples.fold import check_fold, plddt
from d2plm_megatron.evaluation.samples.frechet import distance_of, frechet_distance, moments
from d2plm_megatron.evaluation.samples.plausibility import perplexity, under_ngrams
from d2plm_megatron.evaluation.samples.verdict import judge
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS

MANY = 10_000


def random_proteins(number: int, length: int, seed: int, alphabet: str = CANONICAL_LETTERS) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(alphabet), length)) for _ in range(number)]


def test_the_bootstrap_has_the_error_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = of_ratio(values)
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std() / 20, rel=0.15)
    assert found.low is not None and found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.2)
    assert of_ratio(values[:1]).low is None


def test_an_interval_lies_about_its_value_wherever_the_replicates_are() -> None:
    found = interval(1.0, 5 + np.linspace(-1, 1, 201), MANY)
    assert (found.low, found.high) == pytest.approx((0.05, 1.95), abs=1e-3)
    assert interval(2.0, np.full(9, 7.0), MANY) == type(found)(2.0, 2.0, 2.0, 0.0)


@pytest.mark.parametrize("proteins", [5, 60])
def test_an_interval_has_what_it_promises_of_few_proteins_and_of_many(proteins: int) -> None:
    truth = np.random.default_rng(2).normal(3, 1, (400, proteins))
    found = [of_ratio(values) for values in truth]
    covered = sum(each.low <= 3 <= each.high for each in found if each.low is not None and each.high is not None)
    assert 0.93 * 400 <= covered <= 0.97 * 400
    assert np.mean([(each.error or 0) ** 2 for each in found]) == pytest.approx(1 / proteins, rel=0.1)


def test_few_proteins_are_judged_by_wider_errors_and_one_not_at_all() -> None:
    off = {"samples": {"low_complexity": Interval(0.5, error=0.05)}, "natural": {"low_complexity": Interval(0.2)}}
    assert [judge(off, number).faults for number in (60, 3)] == [("low_complexity",), ()]
    assert judge(off, 3).is_good is None and judge(off, 3).text.startswith("cannot tell: ")
    copied = {"samples": {"copies": Interval(1.0)}, "natural": {"copies": Interval(0.0)}}
    assert [judge(copied, number).is_good for number in (2, 1)] == [False, None]
    said = judge({name: {} for name in off}, 60, ["pLDDT"])
    assert said.is_good and said.text.endswith("; not measured: pLDDT")


def test_an_interval_of_what_is_never_negative_does_not_go_below_0() -> None:
    replicates = np.linspace(0, 2, 201)
    found = interval(0.3, replicates, MANY)
    assert (found.low, found.high) == pytest.approx((0, 1.25), abs=1e-3)
    assert interval(0.3, replicates - 0.1, MANY).low == pytest.approx(-0.65, rel=2e-3)
    few = of_ratio(np.array([0.0, 0.0, 1.0]))
    assert few.low == 0 and few.value == pytest.approx(1 / 3)


def test_a_ratio_is_of_sums() -> None:
    assert of_ratio(np.array([1, 0, 3]), np.array([10, 10, 20])).value == 0.1


def test_ngrams_are_all_neighbours_without_other_letters() -> None:
    assert letters.ngrams("LAG", 1).tolist() == [0, 1, 2]
    assert letters.ngrams("LAXGVL", 2).tolist() == [0 + 20 * 1, 2 + 20 * 3, 3 + 20 * 0]
    assert [len(letters.ngrams("LAGVS", order)) for order in (1, 2, 3, 4)] == [5, 4, 3, 2]
    assert len(letters.ngrams("LA", 4)) == 0


def test_divergences_are_those_of_the_shares_by_hand() -> None:
    found = letters.Divergences(["LLLA", "LA"]).of(["LA", "AA"])
    p, q = np.array([4, 2]) / 6, np.array([1, 3]) / 4
    mixture = (p + q) / 2
    by_hand = ((p * np.log(p / mixture)).sum() + (q * np.log(q / mixture)).sum()) / 2
    assert found["ngram_1_divergence"].value == pytest.approx(by_hand)
    assert "ngram_3_divergence" not in found  # of samples of two residues there are none
    apart = letters.Divergences(["LLLL"]).of(["AAAA"])
    assert [apart[f"ngram_{order}_divergence"].value for order in (1, 4)] == pytest.approx([math.log(2)] * 2)
    same = letters.Divergences(["LAGV"] * 3).of(["LAGV"])
    assert same["ngram_2_divergence"].value == pytest.approx(0, abs=1e-12)


def test_intervals_of_divergences_cover_what_other_samples_give() -> None:
    measured = letters.Divergences(random_proteins(200, 60, seed=0, alphabet="LLLAGV"))
    found = [measured.of(random_proteins(40, 60, seed, alphabet="LAGV"))["ngram_2_divergence"] for seed in range(1, 25)]
    centre = np.mean([each.value for each in found])
    covered = sum(each.low <= centre <= each.high for each in found if each.low is not None and each.high is not None)
    assert covered >= 19


def test_distance_of_lengths_is_the_largest_gap_between_the_shares() -> None:
    found = letters.length_distance(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6]))
    assert found.value == 0.5
    assert letters.length_distance(np.array([5, 5]), np.array([5, 5, 5])).value == 0.0
    assert letters.median_length(["L", "LA", "LAGVS"]).value == 2


def test_repetition_and_entropy_are_shares_of_residues() -> None:
    found = letters.repetition([20 * "A", CANONICAL_LETTERS, CANONICAL_LETTERS])
    assert (found["low_complexity"].value, found["tandem_repeats"].value) == pytest.approx((1 / 3, 1 / 3))
    entropies = letters.entropies(["AAAA", "LLLL"])
    assert entropies["token_entropy"].value == pytest.approx(math.log(2))
    assert entropies["entropy_within"].value == 0


def test_frechet_distance_is_the_closed_form_of_gaussians() -> None:
    mean, other = np.array([1.0, 2.0]), np.array([3.0, 2.0])
    spread, wider = np.diag([1.0, 4.0]), np.diag([9.0, 16.0])
    assert frechet_distance(mean, spread, other, wider) == pytest.approx(4 + (1 - 3) ** 2 + (2 - 4) ** 2)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    turned = frechet_distance(turn @ mean, turn @ spread @ turn.T, turn @ other, turn @ wider @ turn.T)
    assert turned == pytest.approx(12)
    mixed = np.array([[2.0, 1.0], [1.0, 3.0]])  # tr (S1 S2)^(1/2) of 2 x 2: sqrt(tr S1 S2 + 2 sqrt(det S1 S2))
    root = math.sqrt(np.trace(spread @ mixed) + 2 * math.sqrt(np.linalg.det(spread @ mixed)))
    assert frechet_distance(mean, spread, mean, mixed) == pytest.approx(5 + 5 - 2 * root)
    assert frechet_distance(mean, mixed, mean, mixed) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_points_finds_a_shift_among_few() -> None:
    rng = np.random.default_rng(0)
    natural, same, shifted = rng.normal(size=(300, 8)), rng.normal(size=(30, 8)), 1 + rng.normal(size=(30, 8))
    assert moments(natural)[1].shape == (8, 8)
    near, far = distance_of(same, natural), distance_of(shifted, natural)
    assert near.high is not None and far.low is not None and 0 < near.value < near.high < far.low
    assert far.value - near.value == pytest.approx(8, rel=0.4)


def test_perplexity_is_over_residues_and_an_ngram_knows_what_it_was_shown() -> None:
    found = perplexity(np.array([math.log(2) * 30, math.log(8) * 10]), np.array([30, 10]))
    assert found.value == pytest.approx(2**1.5)
    known = ["LAGV" * 20] * 50
    judged = under_ngrams({"same": ["LAGV" * 10] * 3, "other": ["VGAL" * 10] * 3}, known)
    assert judged["same"]["ngram_perplexity"].value < 1.5 < judged["other"]["ngram_perplexity"].value
    assert judged["same"]["order_information"].value > 0.5 > 0 > judged["other"]["order_information"].value


PREDICTOR = """
import sys
lines = open(sys.argv[1]).read().split(">")[1:]
with open(sys.argv[2], "w") as file:
    file.write("plddt,id\\n")
    for record in reversed(lines):
        name, sequence = record.split("\\n", 1)
        file.write(f"{len(sequence.replace(chr(10), ''))},{name}\\n")
"""


def command(folder: Path, code: str) -> str:
    (folder / "predictor.py").write_text(code)
    return f"{sys.executable} {folder}/predictor.py {{input}} {{output}}"


def test_a_predictor_is_handed_fasta_and_its_csv_is_read_by_id(tmp_path: Path) -> None:
    found = plddt(command(tmp_path, PREDICTOR), {"a": 70 * "A", "b": "MKT"})
    assert found.tolist() == [70, 3]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; print('loading', file=sys.stderr); sys.exit('no GPU here')", "exit code 1: no GPU here"),
        ("", "wrote no {output}"),
        (
            "import sys; open(sys.argv[2], 'w').write('name,score\\n')",
            "its CSV: no column 'id'; there are name",
        ),
        (
            "import sys; open(sys.argv[2], 'w').write('id,plddt\\na,50\\n')",
            "id b is not in it, which has 1 of 2",
        ),
        (
            "import sys; open(sys.argv[2], 'w').write('id,plddt\\na,5\\na,5\\n')",
            "its CSV, line 3: id a is there twice",
        ),
        ("import sys; open(sys.argv[2], 'w').write('id,plddt\\nc,5\\n')", "id c is there and was not asked for"),
        ("import sys; open(sys.argv[2], 'w').write('id,plddt\\na,101\\n')", "plddt '101'; expected a number from 0 to"),
        (
            "import sys; open(sys.argv[2], 'w').write('id,plddt\\na\\n')",
            "its CSV, line 2: 1 columns",
        ),
    ],
)
def test_a_predictor_that_breaks_the_contract_is_told_so(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        plddt(command(tmp_path, code), {"a": "MKT", "b": "MKT"})
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_command_that_cannot_be_meant_is_refused() -> None:
    for text, message in [("fold {input}", r"\{output\} is not in it"), ("'fold {input} {output}", "No closing")]:
        with pytest.raises(ValueError, match=message):
            check_fold(text)
    with pytest.raises(ValueError, match="no_such_program cannot be run: no such file"):
        plddt("no_such_program {input} {output}", {"a": "MKT"})
