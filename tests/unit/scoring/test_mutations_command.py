"""Tables of mutants as a user gives them, ProteinGym's folders among them."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from pyarrow import parquet

from d2plm_megatron.proteins import alphabet
from d2plm_megatron.scoring import mutations as mutations_room
from d2plm_megatron.scoring.__main__ import mutations
from d2plm_megatron.scoring.correlation import of_ranks
from d2plm_megatron.scoring.heat_map import write_heat_map
from d2plm_megatron.scoring.proteingym import Reference, averages

WILD_TYPE = "MKTVRQGLLAGVSERTIDPK"
OTHER = "GGSGGSWWYGGSLAGV"


def assay(wild_type: str, number: int, seed: int) -> str:
    """A file as ProteinGym has it."""
    generator = np.random.default_rng(seed)
    rows = ["mutant,mutated_sequence,DMS_score,DMS_score_bin"]
    for _ in range(number):
        places = sorted(generator.choice(len(wild_type), generator.integers(1, 3), replace=False))
        letters, names = list(wild_type), []
        for place in places:
            letter = generator.choice([one for one in alphabet.CANONICAL_LETTERS if one != wild_type[place]])
            letters[place] = letter
            names.append(f"{wild_type[place]}{place + 1}{letter}")
        rows.append(f"{':'.join(names)},{''.join(letters)},{generator.normal():.4f},{generator.integers(2)}")
    return "\n".join(rows) + "\n"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_gets_its_scores(trained: Callable[[str], Path], tmp_path: Path, capsys) -> None:
    table, output = tmp_path / "mine.csv", tmp_path / "out.csv"
    table.write_text(assay(WILD_TYPE, 25, 0))
    mutations(trained("mlm"), table, WILD_TYPE, output, method=["masked", "wild-type", "elbo"], draws=2)
    before, after = read(table), read(output)
    assert [{name: row[name] for name in before[0]} for row in after] == before
    assert list(after[0])[4:] == ["masked_marginal", "wild_type_marginal", "elbo_difference", "elbo_difference_error"]
    printed = capsys.readouterr().out
    for name in ("masked_marginal", "wild_type_marginal", "elbo_difference"):
        found, measured = (np.array([float(row[column]) for row in after]) for column in (name, "DMS_score"))
        assert f"{of_ranks(found, measured):.3f} [" in printed
    recovered = tmp_path / "recovered.parquet"
    mutations(trained("mlm"), table, None, recovered)
    columns = parquet.read_table(recovered)
    for name in ("masked_marginal", "DMS_score"):
        assert columns[name].to_pylist() == pytest.approx([float(row[name]) for row in after], abs=2e-5)
    assert columns["DMS_score_bin"].to_pylist() == [int(row["DMS_score_bin"]) for row in before]
    assert columns["mutant"].to_pylist() == [row["mutant"] for row in before]
    mutations(trained("mlm"), table)
    assert list(read(tmp_path / "mine.scored.csv")[0])[4:] == ["masked_marginal"]


def test_a_heat_map_shows_all_single_mutants(trained: Callable[[str], Path], tmp_path: Path, capsys) -> None:
    fasta, picture, table = tmp_path / "wt.fasta", tmp_path / "map.png", tmp_path / "mine.csv"
    fasta.write_text(f">wt\n{WILD_TYPE.lower()}\n")
    mutations(trained("absorbing"), None, str(fasta), heat_map=picture, offset=10)
    assert imread(picture).shape[2] == 4 and "map.png" in capsys.readouterr().out
    rows = read(picture.with_suffix(".csv"))
    assert [row["wild_type"] for row in rows] == list(WILD_TYPE)
    assert [row["position"] for row in rows] == [str(11 + place) for place in range(len(WILD_TYPE))]
    assert all(float(row[row["wild_type"]]) == 0 for row in rows)
    table.write_text(f"mutant\n{WILD_TYPE[3]}14C\n")
    mutations(trained("absorbing"), table, str(fasta), tmp_path / "out.csv", offset=10)
    assert float(read(tmp_path / "out.csv")[0]["masked_marginal"]) == pytest.approx(float(rows[3]["C"]), abs=2e-5)


def test_a_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    write_heat_map(tmp_path / "map.png", "MKT", np.zeros((3, 20)), 0, "masked marginals, runs/a$b_{$c, step 2")
    assert imread(tmp_path / "map.png").shape[2] == 4


@pytest.fixture
def proteingym(tmp_path: Path) -> tuple[Path, Path]:
    """(a folder of three assays of two proteins, their reference file, which names a fourth)."""
    folder, reference = tmp_path / "substitutions", tmp_path / "DMS_substitutions.csv"
    folder.mkdir()
    names = {"P1_Doe_2020": WILD_TYPE, "P1_Roe_2021": WILD_TYPE, "P2_Doe_2022": OTHER}
    for seed, (name, wild_type) in enumerate(names.items()):
        (folder / f"{name}.csv").write_text(assay(wild_type, 20, seed))
    lines = ["DMS_id,DMS_filename,UniProt_ID,target_seq,title,coarse_selection_type"]
    kinds = ["Activity", "Binding", "Activity"]
    lines += [
        f'{name},{name}.csv,{name[:2]},{wild_type},"A title, with\na comma",{kind}'
        for (name, wild_type), kind in zip(names.items(), kinds, strict=True)
    ]
    reference.write_text("\n".join([*lines, f"P3_x,P3_x.csv,P3,{OTHER},none,Stability"]) + "\n")
    return folder, reference


def test_a_folder_of_proteingym_is_read_as_it_is(proteingym, trained, tmp_path: Path, capsys, monkeypatch) -> None:
    folder, reference = proteingym
    output = tmp_path / "scores"
    mutations(trained("absorbing"), folder, output=output, reference_file=reference)
    printed = capsys.readouterr()
    assert "has 3 of the 4 assays of the reference file" in printed.err
    summary = read(output / "summary.csv")
    assert [row["assay"] for row in summary] == ["P1_Doe_2020", "P1_Roe_2021", "P2_Doe_2022"]
    value = [float(row["masked_marginal_spearman"]) for row in summary]
    means = json.loads((output / "summary.json").read_text())["masked"]
    activity, binding = (value[0] + value[2]) / 2, value[1]
    assert means == pytest.approx(
        {
            "assays": np.mean(value),
            "proteins": ((value[0] + value[1]) / 2 + value[2]) / 2,
            "Activity": activity,
            "Binding": binding,
            "average": (activity + binding) / 2,
        }
    )
    assert "mean over proteins" in printed.out and "average" in printed.out
    (output / "P1_Roe_2021.csv").unlink()
    asked = []
    score_assay = mutations_room.score_assay
    monkeypatch.setattr(mutations_room, "score_assay", lambda *args: asked.append(args[3].name) or score_assay(*args))
    mutations(trained("absorbing"), folder, output=output, reference_file=reference)
    assert asked == ["P1_Roe_2021.csv"]  # only what is missing is scored again
    assert read(output / "summary.csv") == summary
    with pytest.raises(ValueError, match=r"scores: begun by another request \(checkpoint was .* and is .*mlm"):
        mutations(trained("mlm"), folder, output=output, reference_file=reference)
    one = tmp_path / "one.csv"
    mutations(trained("absorbing"), folder / "P2_Doe_2022.csv", output=one, reference_file=reference)
    assert read(one) == read(output / "P2_Doe_2022.csv")


def test_a_folder_of_scores_notices_that_another_one_is_asked_for(proteingym, trained, tmp_path: Path) -> None:
    """Nothing of another input, or of one that was edited since, is taken for what was asked for."""
    folder, reference = proteingym
    output, others, edited = tmp_path / "scores", tmp_path / "others", folder / "P1_Doe_2020.csv"
    others.mkdir()
    for path in folder.iterdir():
        (others / path.name).write_text(path.read_text())
    mutations(trained("absorbing"), folder, output=output, reference_file=reference)
    own = read(output / edited.name)
    for changed, told in (
        ({"input": others}, r"P1_Doe_2020.table was .*substitutions/P1_Doe_2020.csv.* and is .*others/P1_Doe_2020.csv"),
        ({"input": folder, "score_column": "DMS_score_bin"}, r'score_column was "DMS_score" and is "DMS_score_bin"'),
        ({"input": folder, "seed": 1}, "seed was 0 and is 1"),
    ):
        with pytest.raises(ValueError, match=rf"scores: begun by another request \(.*{told}"):
            mutations(trained("absorbing"), **{"output": output, "reference_file": reference, **changed})
    edited.write_text(assay(WILD_TYPE, 20, 7))
    with pytest.raises(ValueError, match=r"begun by another request \(P1_Doe_2020\.table was"):
        mutations(trained("absorbing"), folder, output=output, reference_file=reference)
    mutations(trained("absorbing"), folder, output=output, reference_file=reference, overwrite=True)
    assert [row["mutant"] for row in read(output / edited.name)] == [row["mutant"] for row in read(edited)] != own
    (output / edited.name).write_text((output / "P1_Roe_2021.csv").read_text())
    with pytest.raises(ValueError, match=r"P1_Doe_2020\.csv: holds other mutants than"):
        mutations(trained("absorbing"), folder, output=output, reference_file=reference)


def test_a_folder_of_others_is_kept(proteingym, trained, tmp_path: Path) -> None:
    """Tables that no such command has written are not taken for scores, and inputs are never written to."""
    folder, _ = proteingym
    before = {path.name: path.read_text() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="is read or written by this command, too"):
        mutations(trained("absorbing"), folder, output=folder, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "P2_Doe_2022.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"P2_Doe_2022\.csv: is there already; name another file, or give --overwrite"):
        mutations(trained("absorbing"), folder, output=tmp_path / "mine")
    (folder / "summary.csv").write_text(before["P2_Doe_2022.csv"])
    with pytest.raises(ValueError, match="an assay is called summary, as the summary of all is; rename it"):
        mutations(trained("absorbing"), folder, output=tmp_path / "out")
    (folder / "summary.csv").unlink()
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_a_folder_without_a_reference_file_recovers_its_wild_types(proteingym, trained, tmp_path: Path) -> None:
    mutations(trained("absorbing"), proteingym[0], output=tmp_path / "scores")
    mutations(trained("absorbing"), proteingym[0], output=tmp_path / "known", reference_file=proteingym[1])
    for name in ("P1_Doe_2020.csv", "P2_Doe_2022.csv"):
        assert read(tmp_path / "scores" / name) == read(tmp_path / "known" / name)


def test_averages_of_the_leaderboard() -> None:
    def reference(name: str, protein: str, function: str) -> Reference:
        return Reference(name, f"{name}.csv", None, protein, function)

    found = [(reference("a", "P", "Binding"), 0.2), (reference("b", "P", "Binding"), 0.4),
             (reference("c", "Q", "Binding"), 0.9), (reference("d", "P", "Stability"), 0.1),
             (reference("e", "Q", "Stability"), float("nan"))]  # fmt: skip
    assert averages(found) == pytest.approx(
        {"assays": 0.4, "proteins": (0.7 / 3 + 0.9) / 2, "Binding": 0.6, "Stability": 0.1, "average": 0.35}
    )


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("mutant\nA2G\n", {}, r"m.csv, line 2: A2G: the wild type has K at position 2, not A"),
        ("mutations\nK2G\n", {}, r"m.csv: no column 'mutant'; there are mutations"),
        ("mutant\n", {}, r"m.csv: no row in it"),
        ("mutant,DMS_score\nK2G,high\n", {}, r"m.csv, line 2: DMS_score is 'high', no number"),
        ("mutant,DMS_score\nK2G,inf\n", {}, r"m.csv, line 2: DMS_score is 'inf', no finite number"),
        ("mutant,y\nK2G,1\n", {"score_column": "x"}, r"no column 'x'; there are mutant, y"),
        ("mutant\nK2G\n", {"wild_type": None}, r"of which wild type\? give --wild-type"),
        ("mutant\nK2G\n", {"wild_type": "MK2"}, r"--wild-type MK2: no such file, and no residues"),
        ("mutant\nK2G\n", {"wild_type": "MKJ"}, r"--wild-type: 'J' at position 3 is no residue"),
        ("mutant\nK2G\n", {"method": ["mask"]}, r"--method mask: allowed are masked, wild-type, elbo"),
        ("mutant\nK2G\n", {"method": ["wild-type"]}, r"--method wild-type: it was trained at masks alone"),
        ("mutant,masked_marginal\nK2G,1\n", {}, r"has a column masked_marginal already"),
        ("mutant,mutated_sequence\nK2G,MK\n", {}, r"line 2: mutated_sequence is not the wild type with K2G in it"),
        ("mutant,mutated_sequence\nK2G,MKT\n", {"wild_type": None}, r"mutated_sequence does not have K2G in it"),
        ("mutant\nK2G\n", {"heat_map": Path("x.svg")}, r"--heat-map x.svg: a picture ends in .png"),
        ("mutant\nK2G\n", {"output": Path("x.xlsx")}, r"x.xlsx: a table ends in .csv or .parquet"),
        ("", {"input": None, "heat_map": Path("x.png")}, r"--output: goes with --input, which is missing"),
        ("mutant\nK2G\n", {"draws": 3}, r"--draws: goes with --method elbo, which is missing"),
        ("", {"input": None}, r"what is to be scored\? give --input, or --heat-map"),
    ],
)
def test_bad_input_is_one_line(text: str, options: dict, message: str, trained, tmp_path: Path) -> None:
    table = tmp_path / "m.csv"
    table.write_text(text)
    given = {"input": table, "wild_type": WILD_TYPE, "output": tmp_path / "out.csv", **options}
    with pytest.raises(ValueError, match=message) as found:
        mutations(trained("absorbing"), **given)
    assert "\n" not in str(found.value) and not (tmp_path / "out.csv").exists()


def test_bad_folders_are_one_line(proteingym, trained, tmp_path: Path) -> None:
    folder, reference = proteingym
    (tmp_path / "empty").mkdir()
    (tmp_path / "stray.csv").write_text("mutant\nK2G\n")
    two = tmp_path / "two.fasta"
    two.write_text(">a\nMK\n>b\nMK\n")
    evil = tmp_path / "evil.csv"
    evil.write_text(reference.read_text().replace("P1_Doe_2020,", "../P1_Doe_2020,", 1))
    twice = tmp_path / "twice"
    twice.mkdir()
    for suffix in (".csv", ".tsv"):
        (twice / f"a{suffix}").write_text((folder / "P1_Doe_2020.csv").read_text())
    for options, message in (
        ({"input": folder, "reference_file": evil}, r"evil.csv, line 3: DMS_id \.\./P1_Doe_2020: is no name of a file"),
        ({"input": twice}, "a is the name of more than one assay"),
        ({"input": tmp_path / "empty"}, "empty: no assay in it"),
        ({"input": tmp_path / "empty", "reference_file": reference}, "no assay in it, of 4 that were named"),
        ({"input": folder, "wild_type": WILD_TYPE}, "a folder has many wild types"),
        ({"input": tmp_path / "stray.csv", "reference_file": reference}, "is not among the 4 assays"),
        ({"input": folder, "reference_file": tmp_path / "stray.csv"}, "no column 'DMS_id'; there are mutant"),
        ({"input": tmp_path / "stray.csv", "wild_type": str(two)}, "2 proteins; give a file of one"),
    ):
        with pytest.raises(ValueError, match=message):
            mutations(trained("absorbing"), **options)
