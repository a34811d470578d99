"""The verdict on proteins of which it is known what they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.data.whole import read_whole
from d2plm_megatron.evaluation.samples import known as known_module
from d2plm_megatron.evaluation.samples import novelty
from d2plm_megatron.evaluation.samples import panel as panel_module
from d2plm_megatron.evaluation.samples.judgement import Judgement, gather
from d2plm_megatron.evaluation.samples.known import Known
from d2plm_megatron.evaluation.samples.panel import build_panel, sequences
from d2plm_megatron.evaluation.samples.results import numbers, print_judgement
from d2plm_megatron.evaluation.samples.verdict import MEASURES
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.fasta import write_fasta
from tests.natural import FEW, corpus, written

needs_mmseqs = pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")


def judged(folder: Path, samples: list[str], reference: list[str], train: list[str] | None = None) -> Judgement:
    known = written(folder / "reference.fasta", reference)
    of_train = None if train is None else str(written(folder / "train.fasta", train))
    return gather(build_panel(written(folder / "samples.fasta", samples), str(known)), of_train, folder=folder)


def shuffled(sequences: list[str]) -> list[str]:
    rng = np.random.default_rng(9)
    return ["".join(rng.permutation(list(sequence))) for sequence in sequences]


def mutated(sequence: str) -> str:
    """Every 30th residue is another."""
    letters = CANONICAL_LETTERS
    changed = {place: letters[letters.index(sequence[place]) - 1] for place in range(10, len(sequence), 30)}
    return "".join(changed.get(place, letter) for place, letter in enumerate(sequence))


def test_natural_proteins_are_like_natural_proteins(
    natural: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = judged(tmp_path, natural[:FEW], natural[FEW:])
    assert found.verdict.is_good and not found.verdict.faults, found.verdict.text
    assert found.verdict.text == (
        "good: in 14 measures they are like as many natural proteins"
        "; not measured: novelty and diversity, as MMseqs2 is missing"
    )
    as_json = json.loads(json.dumps(numbers(found)))
    assert as_json["proteins"] == {
        "records": FEW,
        "compared": FEW,
        "rest": 200,
        "known": 260,
        "reference_in_train": None,
    }
    assert as_json["verdict"]["good"] and as_json["nearest"] is None and as_json["families"] is None


@needs_mmseqs
def test_near_copies_of_what_was_trained_on_are_found_and_shown(natural: list[str], tmp_path: Path) -> None:
    train, reference = natural[:FEW], natural[FEW:]
    found = judged(tmp_path, list(map(mutated, train)), reference, train)
    assert found.verdict.faults[0] == "near_copies" and not found.verdict.is_good
    assert found.columns["samples"]["near_copies"].value == 1.0
    assert found.columns["natural"]["near_copies"].value < 0.4
    homologs = [found.columns[name]["homologs"].value for name in ("samples", "natural", "shuffled")]
    assert homologs[0] == 1 and homologs[1] > 0.8 and homologs[2] < 0.05
    assert found.columns["natural"]["clusters_50"].value < found.columns["natural"]["clusters_90"].value
    as_json = json.loads(json.dumps(numbers(found)))
    assert as_json["versions"]["mmseqs2"] and len(as_json["nearest"]) == FEW
    assert not list(tmp_path.glob(".judge*"))
    near = found.homology.neighbours[0] if found.homology else None
    assert near is not None and near.sample.removeprefix("samples") == near.known.removeprefix("train")
    assert near.identity == pytest.approx(29 / 30, abs=0.015) and near.e_value < 1e-20
    assert near.alignment.num_identical == pytest.approx(near.identity * len(near.alignment.rows[0]), abs=1.5)


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (lambda natural: shuffled(natural[:FEW]), "order_information"),
        (lambda natural: ["A" * len(sequence) for sequence in natural[:FEW]], "low_complexity"),
        (lambda natural: natural[FEW : 2 * FEW], "copies"),
        (lambda natural: natural[:6] * (FEW // 6), "distinct"),
        (lambda natural: [sequence.replace("L", "I") for sequence in natural[:FEW]], "ngram_1_divergence"),
        (lambda natural: [a + b for a, b in zip(natural[:FEW], natural[FEW:], strict=False)], "length_distance"),
        (lambda natural: [f"{sequence}.M" for sequence in natural[:FEW]], "canonical"),
    ],
)
def test_what_is_wrong_is_said_first(
    made: Callable[[list[str]], list[str]],
    fault: str,
    natural: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without MMseqs2 the rest is still judged
    found = judged(tmp_path, made(natural), natural[FEW:])
    assert found.verdict.faults[0] == fault
    complaint = next(measure.fault for measure in MEASURES if measure.key == fault)
    assert found.verdict.text.startswith(f"not good: {complaint} (")
    assert "note: MMseqs2 is missing: install it" in capfd.readouterr().err and found.homology is None


def of_even_odds(number: int, shortest: int, longest: int, seed: int) -> list[str]:
    """Proteins whose residues are independent and of the same shares, whatever their lengths."""
    rng = np.random.default_rng(seed)
    shares = np.linspace(1, 4, 20) / 50
    lengths = rng.integers(shortest, longest + 1, number)
    return ["".join(rng.choice(list(CANONICAL_LETTERS), length, p=shares)) for length in lengths]


@pytest.mark.parametrize("lengths", [(50, 60), (100, 200), (300, 350), (600, 900)])
def test_lengths_alone_are_no_fault_of_residues(
    lengths: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = judged(tmp_path, of_even_odds(64, *lengths, seed=1), of_even_odds(264, 100, 600, seed=2))
    assert set(found.verdict.faults) <= {"length_distance"}, found.verdict.text
    for order in (3, 4):  # nor is it an advantage
        samples, natural = (found.columns[name][f"ngram_{order}_divergence"] for name in ("samples", "natural"))
        assert samples.value == pytest.approx(natural.value, rel=0.1)


@pytest.mark.parametrize("longest", [30, 100])
def test_shorter_natural_proteins_are_only_shorter(
    longest: int, natural: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = judged(tmp_path, [sequence[:longest] for sequence in natural[:FEW]], natural[FEW:])
    assert found.verdict.faults == ("length_distance",), found.verdict.text
    columns = found.panel.matched
    lengths = [sorted(map(len, columns[name])) for name in columns]
    assert lengths[0] == lengths[1] == lengths[2] and lengths[0][-1] == longest
    assert sorted(map(sorted, columns["shuffled"])) == sorted(map(sorted, columns["natural"]))


def test_partners_are_as_long_as_the_shorter_of_them(tmp_path: Path) -> None:
    samples = written(tmp_path / "samples.fasta", ["A" * 5, "A" * 50, "A" * 30])
    reference = written(tmp_path / "reference.fasta", ["L" * 20, "L" * 20, "L" * 20, "L" * 20, "L" * 20, "L" * 20])
    panel = build_panel(samples, str(reference))
    assert [len(letters) for letters in panel.matched["samples"]] == [5, 20, 20]
    assert sorted(len(letters) for letters in panel.matched["natural"]) == [5, 20, 20]
    assert [len(letters) for letters in panel.columns["samples"]] == [5, 50, 30]
    assert {len(letters) for letters in panel.columns["natural"]} == {20}


@pytest.mark.parametrize("is_dataset", [False, True])
def test_of_many_proteins_a_fixed_sample_is_taken(
    is_dataset: bool, write_proteins: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = str(write_proteins([10] * 90))
    everything = [protein.sequence for protein in read_whole(where)]
    if not is_dataset:
        where = str(written(tmp_path / "natural.fasta", everything))
    monkeypatch.setattr(panel_module, "MOST_OF_REFERENCE", 300)
    monkeypatch.setattr(known_module, "MOST_RESIDUES", 450)
    panel = build_panel(written(tmp_path / "samples.fasta", [everything[1], "MKTV", "MKTV"]), where)
    assert sorted(sequences([*panel.natural, *panel.rest])) == sorted(everything[::3])
    known = Known.look(where, panel)
    assert (known.proteins, known.residues) == (90, 900) and list(known.sampled()) == everything[::2]
    assert known.copies(panel)["samples"]["copies"].value == pytest.approx(1 / 3)  # of all, sampled or not


def test_copies_are_found_where_the_reference_was_trained_on(
    natural: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    known = natural[FEW:]
    found = judged(tmp_path, known[:FEW], known, known)
    assert found.verdict.faults == ("copies",)
    assert found.columns["samples"]["copies"].value == 1 and found.columns["natural"]["copies"].value < 0.02
    assert numbers(found)["proteins"]["reference_in_train"] == len(known)
    print_judgement(found)
    assert "260 of 260 proteins of the reference are in --train" in capfd.readouterr().err
    twice = judged(tmp_path, known[:FEW], known, [*known, *known])
    assert twice.columns["natural"]["copies"].value == 1  # as nature repeats itself there


def test_families_are_those_of_the_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(novelty, "NUM_BASELINE", 32)
    proteins = corpus()
    wanted = sorted({protein.family for protein in proteins})[:3]
    samples = [protein.sequence for protein in proteins[:120] if protein.family in wanted][:12]
    records = [
        (f"r{number} family={protein.family}", protein.sequence) for number, protein in enumerate(proteins[120:])
    ]
    write_fasta(tmp_path / "reference.fasta", records)
    path = written(tmp_path / "samples.fasta", [*samples, *shuffled(samples)])
    found = gather(build_panel(path, str(tmp_path / "reference.fasta")))
    assert found.columns["samples"]["families"].value == len(wanted)
    assert found.columns["samples"]["recognised"].value == pytest.approx(0.5, abs=0.1)
    assert found.columns["natural"]["recognised"].value > 0.9
    counted = numbers(found)["families"]
    assert [counted[name] > 0 for name in sorted(counted)] == [name in wanted for name in sorted(counted)]


def test_a_panel_is_split_by_a_fixed_seed_into_equal_columns(natural: list[str], tmp_path: Path) -> None:
    samples = written(tmp_path / "samples.fasta", natural[:50])
    few = written(tmp_path / "few.fasta", natural[100:141])
    known = list(read_whole(str(few)))
    panel, again = (build_panel(samples, str(few)) for _ in range(2))
    assert [len(column) for column in panel.columns.values()] == [20, 20, 20] and len(panel.rest) == 21
    assert panel.columns == again.columns and panel.rest == again.rest
    assert sorted(panel.columns["natural"] + sequences(panel.rest)) == sorted(natural[100:141])
    selves = Known.look(str(few), panel).selves(panel)
    assert [known[number] for number in selves] == panel.natural
    assert list(map(sorted, panel.columns["shuffled"])) == list(map(sorted, panel.matched["natural"]))
