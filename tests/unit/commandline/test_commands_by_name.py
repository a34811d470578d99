"""d2plm: every command by its name, and one line for a name that there is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from d2plm_megatron.commandline.commands import COMMANDS, HEADLINE, main, summary

ROOT = Path(__file__).parents[3]


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["d2plm", *words])
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    return (code, *capsys.readouterr())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_under_its_name(name: str, monkeypatch, capsys) -> None:
    code, printed, _ = said(monkeypatch, capsys, *name.split(), "--help")
    assert code == 0
    assert printed.startswith(f"Usage: d2plm {name} ")
    assert summary(name).split()[:4] == printed.partition("\n\n")[2].split()[:4]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_index_has_every_command_with_a_line(words: list[str], monkeypatch, capsys) -> None:
    code, printed, _ = said(monkeypatch, capsys, *words)
    rows = dict(line.split("  ", 1) for line in printed.splitlines() if line.startswith("d2plm "))
    assert code == 0
    assert list(rows) == [f"d2plm {name}" for name in COMMANDS]
    assert all(says.strip() for says in rows.values())


def test_the_index_begins_with_commands_that_work(monkeypatch, capsys) -> None:
    calls = [line.split()[1:] for line in HEADLINE.splitlines() if line.startswith("    d2plm ")]
    assert [words[0] for words in calls] == ["prepare", "train", "generate"]
    assert HEADLINE in said(monkeypatch, capsys)[1] and HEADLINE not in said(monkeypatch, capsys, "checkpoint")[1]
    missing = ["proteins.fasta: no such file", "data/mine/validation.bin is missing", "runs/mine: no checkpoint"]
    for words, message in zip(calls, missing, strict=True):  # no word of theirs is a slip, but nothing is here yet
        assert message in said(monkeypatch, capsys, *words)[2]


def test_every_command_of_the_package_has_a_name() -> None:
    """A module that can be run is in the table."""
    files = [*(ROOT / "data_tools").rglob("*.py"), *(ROOT / "d2plm_megatron").rglob("*.py")]
    runnable = {path for path in files if "\n    run(" in path.read_text(encoding="utf-8").partition("__name__ ==")[2]}
    modules = {target.partition(":")[0].replace(".", "/") for target in COMMANDS.values()}
    missing = {path for path in runnable if not any(path.with_suffix("").match(module) for module in modules)}
    assert runnable and not missing


def test_a_group_alone_lists_its_commands(monkeypatch, capsys) -> None:
    _, printed, _ = said(monkeypatch, capsys, "checkpoint")
    assert "d2plm checkpoint verify" in printed and "d2plm prepare" not in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("preprae", "preprae: no such command; did you mean d2plm prepare?"),
        ("checkpoint inspct x", "checkpoint inspct: no such command; did you mean d2plm checkpoint inspect?"),
        ("fasta_to_lmdb", "did you mean d2plm data fasta-to-lmdb?"),
        ("xyzzy", "xyzzy: no such command (see d2plm --help)"),
        ("prepare --inptu x", "No such option: --inptu (Possible options: --input)"),
        ("train fm_45m", "fm_45m: no such recipe; did you mean fm_450m?"),
        ("train fm_450m demo", "demo: the recipe is fm_450m already"),
        ("train fm_450m --lr 3", "--lr; did you mean optimizer.lr?; changes are written as key=value"),
        ("train demo --cfg jop", "--cfg jop: allowed are job"),
        ("train demo train.max_stps=3", "train.max_stps: no such key; did you mean train.max_steps?"),
        ("train runs/x/recipe.yaml", "write --from runs/x/recipe.yaml"),
        ("train name=x", "give a recipe's name"),
        ("train --from nowhere.yaml", "nowhere.yaml: no such file"),
    ],
)
def test_what_is_not_there_is_one_line_with_what_is(words: str, message: str, monkeypatch, capsys) -> None:
    code, _, error = said(monkeypatch, capsys, *words.split())
    assert code == 2
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error


def test_a_saved_recipe_begins_another(monkeypatch, capsys, tmp_path: Path) -> None:
    _, saved, _ = said(monkeypatch, capsys, "train", "fm_tiny", "--cfg", "job", "train.seed=7")
    (tmp_path / "recipe.yaml").write_text(saved)
    for source in (tmp_path / "recipe.yaml", tmp_path):
        _, again, _ = said(monkeypatch, capsys, "train", "--from", str(source), "name=again", "--cfg", "job")
        assert again == saved.replace("name: fm_tiny", "name: again")


OWN = """
from d2plm_megatron.config import Recipe, Absorbing

def recipe():
    return Recipe(
        name="mine",
        objective=Absorbing({argument}),
    )
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.format(argument='weight="heavy"'), "mine.py, line 7: objective.weight=heavy: allowed are"),
        (OWN.format(argument="wieght=1"), "mine.py, line 7: TypeError: "),
        (OWN.format(argument="("), "mine.py, line 5: '(' was never closed"),
        ("import nowhere_at_all\n", "mine.py, line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def recipe():\n    return 3\n", "recipe() must return a Recipe"),
        ("x = 1\n", "no function recipe()"),
    ],
)
def test_an_error_in_an_own_recipe_shows_its_line(text: str, message: str, monkeypatch, capsys, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    code, _, error = said(monkeypatch, capsys, "train", str(path), "--cfg", "job")
    assert (code, error.count("\n")) == (2, 1)
    assert message in error


def test_an_own_recipe_is_shown(monkeypatch, capsys, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN.format(argument=""))
    code, printed, _ = said(monkeypatch, capsys, "train", str(path), "--cfg", "job", "train.seed=3")
    assert code == 0
    assert printed.startswith("name: mine") and "seed: 3" in printed


def test_it_is_what_python_runs_as_the_package() -> None:
    command = [sys.executable, "-m", "d2plm_megatron", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("d2plm 0.")
