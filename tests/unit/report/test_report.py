"""The report: one file that needs nothing else, shows what there is, and takes no orders from its inputs."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from d2plm_megatron.config import OBJECTIVES, Recipe
from d2plm_megatron.console import run
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.loader import validation_packs
from d2plm_megatron.evaluation.held_out import unigram_perplexity
from d2plm_megatron.evaluation.samples.summary import summarise
from d2plm_megatron.report import __main__ as report
from d2plm_megatron.report import drawing, figures
from d2plm_megatron.report import formatting as wording
from d2plm_megatron.report.formatting import in_words, percent, with_error
from d2plm_megatron.report.results import gather

VOID = {"meta", "img", "br", "col", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what the page refers to, its tags and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.anchors: set[str] = set()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open
        assert {link for link in self.references if link.startswith("#")} <= self.anchors

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset")]
        self.anchors |= {f"#{value}" for name, value in attrs if name == "id"}
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data

    @property
    def words(self) -> str:
        """The text as it is read, without line breaks."""
        return " ".join(self.text.split())


def names(page: Page) -> list[str]:
    """Of the listed samples, in order."""
    return re.findall(r"\b(noise|part|copy)\s+length", page.text.partition("All samples")[2])


def write_report(folder: Path, **options: Path) -> Page:
    """The page of a report with these options."""
    named = {"samples": None, "evaluation": None, "reference": None, "show": None, "output": None, **options}
    report.main(folder, **named)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_a_whole_report_needs_nothing_but_itself(make_run, make_fasta, evaluation, capsys):
    folder = make_run()
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    reference = make_fasta("reference.fasta", [f"r{i} family=FAM{i % 3} identity=0.5" for i in range(12)])
    records = reference.read_text().splitlines()
    (folder / "samples.fasta").write_text(f">copy\n{records[1]}\n>part\n{records[3][:40]}\n>noise\n{'WC' * 30}\n")

    page = write_report(folder, reference=reference)

    assert page.references
    links = [reference for reference in page.references if not reference.startswith("data:image/")]
    assert {link for link in links if not link.startswith("#")} == {"samples.fasta"}  # to click on; nothing is fetched
    assert page.tags.count("img") == 10
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(
        r"https?://|@import|url\(", re.sub(r'"data:image/[^"]*"', "", (folder / "report.html").read_text())
    )
    told = ("absorbing diffusion", "12.346 ± 0.012", "17.60", "13.100 ± 0.040", "163,840 tokens", "FAM0", "num_layers")
    for shown in (*told, "2 of 3"):
        assert shown in page.text
    assert "Left out: a judgement of the samples (not judged; judge them with: d2plm judge" in page.words

    found = json.loads((folder / "report.json").read_text())
    assert found["run"]["steps"] == 20
    assert found["evaluation"]["likelihoods"]["elbo"]["perplexity"] == 12.3456
    assert found["novelty"]["copies"] == 1
    assert found["novelty"]["families"] == {"FAM0": 1, "FAM1": 1, "FAM2": 0}
    assert [row["identity"] for row in found["novelty"]["nearest"][:2]] == [1.0, 1.0]
    printed = capsys.readouterr().out
    assert "12.346 ± 0.012" in printed
    assert str(folder / "report.html") in printed


def test_a_report_of_a_run_alone_says_what_is_left_out(make_run, capsys):
    folder = make_run()
    (folder / "metrics.jsonl").unlink()
    page = write_report(folder)
    assert "img" not in page.tags
    printed = capsys.readouterr().out
    data = "--data 'held out/validation'"
    for absent, remedy in {
        "the learning curve": "no metrics.jsonl",
        "perplexity": f"d2plm evaluate {folder} {data}",
        "generated proteins": f"d2plm generate {folder}",
    }.items():
        for told in (printed, page.text):
            assert re.search(f"[lL]eft out:.*{absent} .*{re.escape(remedy)}", " ".join(told.split()))
    assert set(json.loads((folder / "report.json").read_text())) == {"run"}


def test_samples_without_a_reference_are_shown_without_novelty(make_run, make_fasta):
    page = write_report(make_run(), samples=make_fasta("mine.fasta", ["one", "two"]))
    assert page.tags.count("img") == 4
    assert "novelty and families (no --reference; give real proteins with: d2plm report" in page.text
    assert "nearest reference" not in page.text


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((20, 20), "evaluation and samples from step 20"),
        ((10, 10), "evaluation from step 20, samples from step 10"),
        ((10, 20), "evaluation from step 20"),
    ],
)
def test_which_checkpoint_everything_is_from(steps, told, make_run, make_fasta, evaluation, capsys):
    folder = make_run()
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    samples = make_fasta("mine.fasta", [f"generated_{i} checkpoint_step={step} seed=0" for i, step in enumerate(steps)])
    assert f"Checkpoints: {told}." in write_report(folder, samples=samples).text
    assert told in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_an_objective_of_ones_own_is_reported_by_its_name():
    assert wording.objective("flow_matching") == "discrete flow matching"
    assert wording.objective("my_own") == "my own"
    assert set(wording.OBJECTIVES) == set(OBJECTIVES)


def test_samples_come_best_first_with_a_link_to_all_of_them(make_run, make_fasta, tmp_path):
    folder, reference = make_run(), make_fasta("reference.fasta", [f"r{i}" for i in range(12)])
    records = reference.read_text().splitlines()
    samples = tmp_path / "javascript:my own.fasta"
    samples.write_text(f">noise\n{'WC' * 30}\n>part\n{records[3][:40]}{'W' * 20}\n>copy\n{records[1]}\n")
    page = write_report(folder, samples=samples, reference=reference)
    assert names(page) == ["copy", "part", "noise"]
    assert "../javascript%3Amy%20own.fasta" in page.references
    assert page.text.count("nearestno nearer than chance") == 1 and "within chance" not in page.text
    assert "Median identity to the nearest reference:" in page.text  # fills the row, as there are no families to show
    page = write_report(folder, samples=samples)
    assert names(page)[-1] == "noise"
    assert {"#sample-1", "#sample-2", "#sample-3"} <= set(page.references)


def test_the_baseline_is_known_without_an_evaluation(make_run, write_proteins, evaluation):
    folder = make_run()
    text = (folder / "recipe.yaml").read_text()
    assert gather(folder, None, None, None).unigram_perplexity is None  # the held-out proteins are not there
    prefix = write_proteins([30] * 50)
    (folder / "recipe.yaml").write_text(text.replace("held out/validation", str(prefix)))
    found = gather(folder, None, None, None).unigram_perplexity
    packs = validation_packs(IndexedProteins(prefix), Recipe().data, 50, rank=0, num_ranks=1)
    assert found == pytest.approx(unigram_perplexity(packs))
    assert "Dashed: a model without context" in write_report(folder).text
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    assert gather(folder, None, folder / "evaluation.json", None).unigram_perplexity == 17.6


@pytest.mark.parametrize(
    ("perplexity", "error", "told"),
    [
        (13.0, 0.02, "✓ below the 2-gram"),
        (13.0, 0.2, "~ not told apart from the 2-gram: take more proteins, or train longer"),
        (13.4, 0.02, "✗ above the 2-gram: counting residues tells as much; train longer"),
        (13.0, None, "~ not told apart from the 2-gram: take more proteins, or train longer"),
    ],
)
def test_cards_judge_perplexity(perplexity, error, told, make_run, evaluation):
    folder = make_run()
    evaluation["likelihoods"] = {"elbo": {"perplexity": perplexity, "perplexity_error": error}}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    meaning = "The best n-gram of the training proteins, the 2-gram, reaches 13.100 ± 0.040"
    assert f"{told} {meaning}; without context it is 17.60. Lower is better." in write_report(folder).words


@pytest.mark.parametrize(("middle", "tone"), [(-0.05, "✓ below"), (-0.01, "~ not told apart"), (0.05, "✗ above")])
def test_the_difference_protein_by_protein_counts_where_it_is_known(middle, tone, make_run, evaluation):
    folder, interval = make_run(), [middle - 0.02, middle + 0.02]
    evaluation["likelihoods"] = {"elbo": {"perplexity": 13.0, "perplexity_error": 0.5}}
    paired = {"floor": "2-gram", "nats_per_residue": middle, "standard_error": 0.01, "interval": interval}
    (folder / "evaluation.json").write_text(json.dumps({**evaluation, "to_best_floor": paired}))
    words = write_report(folder).words
    assert f"{tone} the 2-gram" in words.replace("apart from", "apart")
    assert f"the difference is {middle:+.4f} ± 0.0100 nats per residue." in words


def test_without_ngrams_the_card_judges_by_a_model_without_context(make_run, evaluation):
    folder = make_run()
    (folder / "evaluation.json").write_text(json.dumps({**evaluation, "floors": None}))
    page = write_report(folder)
    assert "✓ below the model without context Without context it is 17.60. Lower is better." in page.words
    assert "There are no n-grams beside it" in page.words


def test_cards_judge_samples(make_run, make_fasta, tmp_path):
    folder, reference = make_run(), make_fasta("reference.fasta", [f"r{i}" for i in range(12)])
    page = write_report(folder, samples=make_fasta("mine.fasta", ["a", "b", "c"], seed=9), reference=reference)
    for told in ("all different", "no more than by chance: train longer", "new, and like nothing known"):
        assert told in page.text
    page = write_report(folder, samples=reference, reference=reference)
    assert "more than by chance" in page.text and "copies of what is known" in page.text
    (tmp_path / "same.fasta").write_text(">a\nMKTAYI\n" * 10)
    assert "repeats itself" in write_report(folder, samples=tmp_path / "same.fasta").text


@pytest.mark.parametrize(("lengths", "scale"), [((50, 60, 300), "linear"), ((50, 60, 2800), "log")])
def test_lengths_that_span_have_a_log_axis(lengths, scale, monkeypatch):
    drawn = []
    monkeypatch.setattr(drawing, "as_uri", lambda figure: drawn.append(figure.axes[0].get_xscale()) or "")
    figures.length_histogram(summarise(["M" * length for length in lengths]), None)
    assert drawn == [scale]


def test_hostile_names_stay_text(make_run, make_fasta):
    attack = "<script>alert(1)</script>\"'&{{7*7}}"
    hostile = [f"{attack} family=$\\bad_{{<b>[red]", f"x family={attack}", "y family=[/bold]"]
    samples = make_fasta("samples.fasta", hostile)
    page = write_report(make_run("<i>[bold]$x"), samples=samples, reference=samples)
    assert not {"script", "i"} & set(page.tags)
    assert attack in page.text
    assert "<i>[bold]$x" in page.text


def test_the_command_reads_its_options_and_leaves_nothing_behind(make_run, make_fasta, monkeypatch, tmp_path):
    folder, samples, page = make_run(), make_fasta("mine.fasta", ["one"]), tmp_path / "pages" / "page.html"
    monkeypatch.setattr(sys, "argv", ["report", str(folder), "--samples", str(samples), "--output", str(page)])
    with pytest.raises(SystemExit) as ended:
        run(report.main)
    assert ended.value.code == 0
    assert sorted(path.name for path in page.parent.iterdir()) == ["page.html", "page.json"]


def test_likelihoods_are_told_by_their_names_and_other_results_are_not_taken_for_them(make_run, evaluation, capsys):
    folder, found = make_run(), {"perplexity": 3.21, "perplexity_error": 0.5}
    evaluation["likelihoods"]["my own"] = found
    (folder / "evaluation.json").write_text(json.dumps({**evaluation, "mutations": found}))
    page = write_report(folder)
    assert "this model, my own3.21 ± 0.50" in page.words
    printed = capsys.readouterr().out
    assert "perplexity (my own)" in printed
    assert "mutations" not in printed + page.text


def test_numbers_are_written_as_people_write_them():
    assert [in_words(number) for number in (999_499, 999_500, 1_211_457, 449_000_000)] == [
        "999,499",
        "1.00 million",
        "1.21 million",
        "449 million",
    ]
    assert with_error(18.0921, 0.1214) == "18.09 ± 0.12"
    assert with_error(18.0921, None) == "18.09"
    assert with_error(2503.2, 310.0) == "2503 ± 310"
    assert with_error(None, None) == "infinite"
    assert [percent(share).split()[0] for share in (0.0, 0.384, 0.999, 1.0)] == ["0", "38", "99", "100"]
