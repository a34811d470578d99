"""The verdict on proteins of which it is known what they are, and the command as users type it."""

import gzip
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron import Recipe, TrainedModel, train
from d2plm_megatron.commandline import commands
from d2plm_megatron.config import Data, Model, Parallel, Train
from d2plm_megatron.data.whole import read_whole
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.evaluate import evaluate
from d2plm_megatron.evaluation.judging_model import Question, _means
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
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from data_tools.simulate import SimulatedProtein, simulate

needs_mmseqs = pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")
FEW = 60


@pytest.fixture(scope="module")
def corpus() -> list[SimulatedProtein]:
    return simulate(FEW + 260, mean_identity=0.5, seed=3)


@pytest.fixture(scope="module")
def natural(corpus: list[SimulatedProtein]) -> list[str]:
    return [protein.sequence for protein in corpus]


def written(path: Path, sequences: list[str]) -> Path:
    write_fasta(path, ((f"{path.stem}_{number}", sequence) for number, sequence in enumerate(sequences)))
    return path


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


def test_families_are_those_of_the_headers(
    corpus: list[SimulatedProtein], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(novelty, "NUM_BASELINE", 32)
    wanted = sorted({protein.family for protein in corpus})[:3]
    samples = [protein.sequence for protein in corpus[:120] if protein.family in wanted][:12]
    records = [(f"r{number} family={protein.family}", protein.sequence) for number, protein in enumerate(corpus[120:])]
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


def tiny(write_proteins: Callable[..., Path], folder: Path) -> Recipe:
    return Recipe(
        output=str(folder),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
        data=Data(train=str(write_proteins([40] * 60)), max_length_residues=100, tokens_per_pack=1024),
        train=Train(max_steps=2, precision="fp32", global_batch_tokens=1024),
    )


def question(checkpoint: Checkpoint, num_draws: int, seed: int = 0, window: int | None = None) -> Question:
    return Question(
        checkpoint=checkpoint,
        weights="ema",
        precision=None,
        parallel=Parallel(),
        num_draws=num_draws,
        seed=seed,
        window=window,
        tokens_per_pack=1024,
    )


def test_a_model_tells_its_perplexity_and_how_far_embeddings_are(
    write_proteins: Callable[..., Path], natural: list[str], tmp_path: Path
) -> None:
    samples = written(tmp_path / "samples.fasta", [8 * "MKTAYIAKQR"] * 20)
    reference = written(tmp_path / "reference.fasta", natural[:60])
    panel, run = build_panel(samples, str(reference)), train(tiny(write_proteins, tmp_path))
    with TrainedModel.open(run) as model:
        one_by_one = model.perplexity(panel.matched["natural"], num_draws=2)
        checkpoint = model.checkpoint
    found, about, is_main = question(checkpoint, num_draws=2).ask(panel)
    assert is_main and about["draws"] == 2 and about["window"] == 100 and about["precision"] == "fp32"
    lengths = np.array(list(map(len, panel.matched["natural"])))
    expected = np.exp((np.log(one_by_one) * lengths).sum() / lengths.sum())
    assert found["natural"]["model_perplexity"].value == pytest.approx(expected)
    assert found["samples"]["frechet"].value > 2 * found["natural"]["frechet"].value


def test_a_model_is_asked_about_long_proteins_as_evaluate_asks(
    write_proteins: Callable[..., Path], natural: list[str], tmp_path: Path
) -> None:
    run = train(tiny(write_proteins, tmp_path))
    samples = written(tmp_path / "samples.fasta", [natural[number] + natural[number + 1] for number in range(10)])
    panel = build_panel(samples, str(written(tmp_path / "reference.fasta", natural[10:40])))
    compared = written(tmp_path / "compared.fasta", panel.matched["samples"])
    with TrainedModel.open(run) as model:
        config = EvaluationConfig(num_draws=2, seed=3, window=40)
        expected = evaluate(model, str(compared), config).likelihoods["elbo"].perplexity
        [states] = model.embed([natural[0][:90]])
        assert _means(model, [natural[0][:90]], 200, 1024) == pytest.approx(states.mean(0)[None], abs=1e-6)
        halves = [natural[0][:40], natural[0][20:60]]
        first, second = model.embed(halves)
        by_hand = np.concatenate([first, second[20:]]).mean(0)
        assert _means(model, [natural[0][:60]], 40, 1024) == pytest.approx(by_hand[None], abs=1e-6)
        checkpoint = model.checkpoint
    found, _, _ = question(checkpoint, num_draws=2, seed=3, window=40).ask(panel)
    assert found["samples"]["model_perplexity"].value == pytest.approx(expected)


def typed(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["d2plm", "judge", *map(str, words)])
    try:
        commands.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_command_writes_json_and_a_picture(
    natural: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    predictor = tmp_path / "predictor.py"
    predictor.write_text(
        "import re, sys\n"
        "ids = re.findall('>(.*)', open(sys.argv[1]).read())\n"
        "lines = [f'{name},{80 if name.startswith(\"natural\") else 40}' for name in ids]\n"
        "open(sys.argv[2], 'w').write('\\n'.join(['id,plddt', *lines]))\n"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    samples = written(tmp_path / "samples.fasta", natural[:20])
    reference = written(tmp_path / "reference.fasta", natural[20:100])
    fold = f"{sys.executable} {predictor} {{input}} {{output}}"
    assert typed(monkeypatch, samples, "--reference", reference, "--fold", fold) == 0
    found = json.loads((tmp_path / "samples.judge.json").read_text())
    assert found["verdict"]["faults"] == ["plddt"]
    assert found["measures"]["plddt"]["natural"] == {"value": 80.0, "low": 80.0, "high": 80.0, "standard_error": 0.0}
    assert (tmp_path / "samples.judge.png").read_bytes().startswith(b"\x89PNG")
    said = capfd.readouterr().out
    assert "not good: they are not predicted to fold as natural ones (pLDDT: 40.00, natural 80.00)" in said
    assert said.count("not measured: novelty and diversity, as MMseqs2 is missing") == 1


def test_each_file_has_its_own_judgement_and_a_run_has_one(
    natural: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    reference = written(tmp_path / "reference.fasta", natural[20:60])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("{}")
    written(tmp_path / "run" / "samples.fasta", natural[:5])
    for number, name in enumerate(["a.fasta", "a.b.fasta.gz", "run"]):
        samples = tmp_path / name
        if name.endswith(".gz"):
            samples.write_bytes(gzip.compress(f">x\n{natural[number]}\n>y\n{natural[5]}\n".encode()))
        elif name != "run":
            written(samples, natural[number : number + 2])
        assert typed(monkeypatch, samples, "--reference", reference) == 0
    assert "cannot tell: no fault is certain, but 5 proteins cannot show" in capfd.readouterr().out
    for name in ("a.judge.json", "a.b.judge.json", "run/judge.json"):
        assert json.loads((tmp_path / name).read_text())["verdict"]["good"] is None
        assert (tmp_path / name).with_suffix(".png").exists()
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "a.judge.json").unlink()
    assert typed(monkeypatch, tmp_path / "a.fasta", "--reference", reference) == 0
    assert not (tmp_path / "a.judge.json").exists()


def test_no_checkpoint_is_replaced(
    natural: list[str], tmp_path: Path, write_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = write_checkpoint(RunFolder(tmp_path / "run"), 3, is_best=True) / "state.json"
    before = state.read_bytes()
    samples, reference = (written(tmp_path / f"{name}.fasta", natural[:8]) for name in ("samples", "reference"))
    assert typed(monkeypatch, samples, "--reference", reference, "--output", state) == 2
    assert state.read_bytes() == before and not state.with_suffix(".png").exists()


@pytest.mark.parametrize(
    ("samples", "reference", "options", "message"),
    [
        (">a\nMKT\n", ">r\nMKTV\n", [], "one protein alone is no reference"),
        (">a\nMKT\n", "", [], "empty, no record in it"),
        (">a\nMKT\n", ">r\nMKTV\n>s\n\n", [], "record s: no residue in it"),
        (">a\nXX\n>b\n\n", ">r\nMKTV\n>s\nMKTA\n", [], "no canonical residue in these samples"),
        ("", ">r\nMKTV\n>s\nMKTA\n", [], "empty, no record in it"),
        (">a\nMKT\n", None, [], "reference.fasta.bin is missing"),
        (">a\nMKT\n", ">r\nMKTV\n>s\nXX\n", [], "one protein alone is no reference"),
        (">a\nMKT\n", ">r\nMKTV\n>s\nMKTA\n", ["--judge", "nowhere"], "nowhere"),
        (">a\nMKT\n", ">r\nMKTV\n>s\nMKTA\n", ["--train", "nowhere"], "nowhere.bin is missing"),
        (">a\nMKT\n", ">r\nMKTV\n>s\nMKTA\n", ["--window", "1"], "greater than or equal to 2"),
        (">a\nMKT\n", ">r\nMKTV\n>s\nMKTA\n", ["--fold", "x {input}"], "{output} is not in it"),
        (">a\nMKT\n", ">r\nMKTV\n>s\nMKTA\n", ["--output", "x.html"], "name the JSON file, as in x.json"),
    ],
)
def test_bad_input_is_one_line(
    samples: str,
    reference: str | None,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    paths = tmp_path / "samples.fasta", tmp_path / "reference.fasta"
    for path, text in zip(paths, (samples, reference), strict=True):
        if text is not None:
            path.write_text(text)
    assert typed(monkeypatch, paths[0], "--reference", paths[1], *options) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and message in said
    assert not list(tmp_path.glob("*.json"))
