"""What lies beside a run: told by what is in it, shown as it was written, and left out where it cannot be read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.report import __main__ as report
from d2plm_megatron.report.beside import look_beside
from d2plm_megatron.report.cards import of_median
from d2plm_megatron.report.effects import read_heat_map, read_scored, read_summary
from d2plm_megatron.scoring.correlation import spearman


def written(folder: Path, **options: object) -> tuple[str, dict]:
    """The page of a report as words, and its numbers."""
    named = {"samples": None, "evaluation": None, "reference": None, "show": None, "output": None, **options}
    report.main(folder, **named)
    page = folder / "report.html"
    return page.read_text(encoding="utf-8"), json.loads(page.with_suffix(".json").read_text())


def comparison(evaluation: dict) -> dict:
    """What `d2plm evaluate A B` writes."""
    difference = {"nats_per_residue": 0.0261, "standard_error": 0.0072, "interval": [0.012, 0.040], "share_better": 0.2}
    told = {**difference, "model": "b", "to": "a", "verdict": "a is better than b by 0.0261 +- 0.0072 nats per residue"}
    return {"models": [{**evaluation, "model": name} for name in "ab"], "differences": [told]}


def test_all_that_lies_beside_a_run_is_shown(make_run, judged, write_mutants, evaluation):
    folder = make_run()
    for name in ("samples.fasta", "judge.json", "judge.png"):
        shutil.copy(judged / name, folder)
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / "comparison.json").write_text(json.dumps(comparison(evaluation)))
    write_mutants(folder)
    (folder / "other.csv").write_text("a,b\n1,2\n")
    page, numbers = written(folder)
    for told in ("K14K", "A13"):
        assert f"<b>{told}" not in page  # the wild type itself is no mutant
    assert "<b>Y15K</b> (+3.0)" in page  # position 5 of the protein, 10 ahead
    assert "a is better than b by 0.0261 +- 0.0072 nats per residue." in page
    assert "+0.0261" in page and "data:image/png;base64," in page
    judgement = json.loads((judged / "judge.json").read_text())
    assert judgement["verdict"]["text"][1:] in page
    assert numbers["judgement"]["measures"] == judgement["measures"]
    places = np.arange(40.0)
    expected = spearman(places + 3 * (places % 5), places / 2)
    assert numbers["assays"][0]["spearman"]["masked_marginal"] == pytest.approx(expected[:3])
    assert f"{expected.value:.3f} <small>[{expected.low:.3f}, {expected.high:.3f}]" in page


def test_what_is_elsewhere_is_shown_when_it_is_named(make_run, tmp_path, evaluation, write_mutants):
    folder, other = make_run(), tmp_path / "elsewhere"
    other.mkdir()
    (other / "mine.json").write_text(json.dumps(comparison(evaluation)))
    write_mutants(other)
    gym = tmp_path / "gym"
    gym.mkdir()
    columns = "assay,protein,function,mutants,masked_marginal_spearman,masked_marginal_low,masked_marginal_high"
    (gym / "summary.csv").write_text(f"{columns}\nBLAT,BLAT_ECOLX,Activity,4996,0.61,0.59,0.63\n")
    page, numbers = written(folder, show=[other / "mine.json", other / "protein.csv", gym])
    assert "Beside other models" in page and "Heat map of every single mutant" in page
    assert "0.610 <small>[0.590, 0.630]" in page
    assert [one["assay"] for one in numbers["assays"]] == ["BLAT"]
    with pytest.raises(ValueError, match=r"recipe\.yaml.*neither a judgement"):
        written(folder, show=[folder / "recipe.yaml"])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("judge.json", "{", "judge.json: damaged"),
        ("protein.csv", "position,wild_type,A,C\n", "protein.csv: no row in it"),
        ("x.csv", "mutant,DMS_score,masked_marginal\nA1C,1,high\n", "x.csv, line 2, column masked_marginal: 'high'"),
    ],
)
def test_what_cannot_be_read_is_told_and_left_out(name, text, said, make_run, capsys):
    folder = make_run()
    (folder / name).write_text(text)
    written(folder)
    noted = capsys.readouterr().err
    assert said in noted and "it is left out" in noted
    with pytest.raises(ValueError, match=said.split(",")[0]):
        look_beside(None, None, [folder / name])


@pytest.mark.parametrize("alignment", [["MK", "M"], ["mk", "MK"], ["M<", "MK"], "MKT", 3, [["M"], ["K"]]])
def test_an_alignment_that_is_none_is_refused(alignment, judged, tmp_path):
    found = json.loads((judged / "judge.json").read_text())
    near = {"sample": "a", "known": "b", "identity": 0.5, "coverage": 1.0, "e_value": 0.0, "alignment": alignment}
    (tmp_path / "judge.json").write_text(json.dumps({**found, "nearest": [near]}))
    with pytest.raises(ValueError, match="damaged"):
        look_beside(None, None, [tmp_path / "judge.json"])


@pytest.mark.parametrize("part", ["measures", "verdict", "proteins", "samples"])
@pytest.mark.parametrize("other", [None, 3, {"x": 1}, ["x"]])
def test_what_is_no_judgement_is_refused(part, other, judged, tmp_path):
    found = json.loads((judged / "judge.json").read_text())
    (tmp_path / "judge.json").write_text(json.dumps({**found, part: other}))
    with pytest.raises(ValueError, match="neither a judgement"):
        look_beside(None, None, [tmp_path / "judge.json"])


def test_heat_maps_are_read_as_they_were_written(tmp_path, write_mutants):
    write_mutants(tmp_path)
    found = read_heat_map(tmp_path / "protein.csv")
    assert (found.wild_type, found.first, found.odds.shape) == ("MKTAYIAKQR" * 3, 11, (30, 20))
    assert found.strongest(1)[0] == ("Y15K", 3.0)
    values = [value for _, value in found.strongest(-1)]
    assert values == sorted(values) and len(values) == 8
    lines = (tmp_path / "protein.csv").read_text().splitlines()
    (tmp_path / "protein.csv").write_text("\n".join([*lines[:3], *lines[4:]]))
    with pytest.raises(ValueError, match="line 4: position '14' does not follow"):
        read_heat_map(tmp_path / "protein.csv")


def test_rows_without_a_measured_value_are_not_correlated(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("mutant,DMS_score,elbo_difference\nA1C,1,1\nA1D,,9\nA1E,2,2\nA1F,3,3\n")
    assert (read_scored(path).mutants, read_scored(path).methods["elbo_difference"].value) == (3, 1.0)
    path.write_text("assay,protein,mutants\nA,B,3\n")
    assert read_summary(path)[0].methods == {}


def test_the_interval_of_a_median_holds_it_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    for number in (8, 25, 64):
        ends = np.array([of_median(rng.exponential(size=number)) for _ in range(2000)])
        held = np.mean((ends[:, 0] <= np.log(2)) & (np.log(2) <= ends[:, 2]))
        assert 0.93 < held < 0.995
