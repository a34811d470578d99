"""d2plm judge as users type it."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from d2plm_megatron.commandline import commands
from d2plm_megatron.runs.folder import RunFolder
from tests.natural import written


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
