"""docs/own_objective.md as printed: its files outside the repository, its commands one after the other."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import random_proteins
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.metrics import read_metrics

PAGE = (Path(__file__).parents[2] / "docs" / "own_objective.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = "".join(re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)).splitlines()
UNKNOWN = "objective.name=per_protein: allowed are absorbing, flow_matching, metric_flow, mlm; it was defined in "

pytestmark = pytest.mark.timeout(1800)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the page's files and proteins where it looks for them."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "data" / "family").mkdir(parents=True)
    for seed, name in enumerate(("train", "validation")):
        random_proteins.write_proteins(folder / "data" / "family" / name, [20 + 7 * i % 60 for i in range(80)], seed)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """run("python my_run.py --help", D2PLM_IMPORT=...), in that folder."""

    def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command)
        words[0] = sys.executable if words[0] == "python" else words[0]
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        clean = {name: value for name, value in os.environ.items() if name != "D2PLM_IMPORT"}
        return subprocess.run(
            words, cwd=folder, env={**clean, **environment}, capture_output=True, text=True, timeout=900
        )

    return run


@pytest.fixture(scope="module")
def printed(run: Run) -> dict[str, str]:
    """What the page's commands print, each by itself; what it exports holds for those after."""
    found, environment = {}, {}
    for command in COMMANDS:
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environment[name] = value
            continue
        done = run(command, **environment)
        assert done.returncode == 0, command + done.stdout[-2000:] + done.stderr[-4000:]
        found[command] = done.stdout
    return found


def test_every_block_of_the_page_is_run() -> None:
    assert FILES.keys() == {"my_run.py", "per_protein.py"}
    assert PAGE.count("```python") == len(FILES) and len(COMMANDS) == 12


def test_own_options_are_keys_like_all_others(printed: dict[str, str]) -> None:
    assert "objective.lowest" in printed["python per_protein.py --help"]
    assert "per_protein" in printed["python per_protein.py --dry-run objective.lowest=0.1"]
    assert "lowest: 0.1\n" in printed["python per_protein.py --cfg job objective.lowest=0.1"]


def test_trains_and_continues(printed: dict[str, str], folder: Path) -> None:
    assert (
        "continuing from runs/per_protein/checkpoints/step_00000004"
        in printed["python per_protein.py objective.lowest=0.1"]
    )
    run = RunFolder(folder / "runs" / "per_protein")
    assert run.latest() == run.checkpoints / "step_00000006"
    validations = [line for line in read_metrics(run.metrics) if line["kind"] == "validation"]
    assert [line["step"] for line in validations] == [3, 4, 6]
    assert {"masked_nll", "elbo_nll"} <= validations[0].keys()


def test_is_evaluated_sampled_and_reported(printed: dict[str, str], folder: Path) -> None:
    run = RunFolder(folder / "runs" / "per_protein")
    found = json.loads(run.evaluation.read_text())
    likelihoods = found["likelihoods"]
    assert found["objective"] == "per_protein"
    assert 1 < likelihoods["masked"]["perplexity"] < 100 and 1 < likelihoods["elbo"]["perplexity"] < 100
    _, *proteins = run.samples.read_text().split(">")
    assert len(proteins) == 4
    for protein in proteins:
        sequence = protein.split("\n", 1)[1].strip()
        assert len(sequence) == 30 and set(sequence) <= set(alphabet.CANONICAL_LETTERS)
    assert "per protein" in (run.path / "report.html").read_text()


def test_another_recipe_takes_the_objective(printed: dict[str, str], folder: Path) -> None:
    recipe = (folder / "runs" / "another" / "recipe.yaml").read_text()
    assert "highest: 0.3" in recipe
    assert f"defined_in: {folder.resolve() / 'per_protein.py'}" in recipe


@pytest.mark.parametrize(
    "command", ["evaluation runs/per_protein --data data/family/validation", "generation runs/per_protein",
                "report runs/per_protein", "checkpoint inspect runs/per_protein"]
)  # fmt: skip
def test_a_file_is_not_run_because_a_checkpoint_says_so(
    command: str, printed: dict[str, str], run: Run, folder: Path
) -> None:
    done = run(f"python -m d2plm_megatron.{command}")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert UNKNOWN + str(folder.resolve() / "per_protein.py") in done.stderr
    assert "to run that file, name it with D2PLM_IMPORT=FILE" in done.stderr


def test_changed_options_do_not_continue_the_run(printed: dict[str, str], run: Run) -> None:
    done = run("python per_protein.py objective.lowest=0.2")
    assert done.returncode == 2 and "lowest was 0.1 and is 0.2" in done.stderr


MISTAKES = {
    "an option": ("", "", "objective.lowest=2", "error: objective.lowest=2.0: must lie between 0.001 and 1.0"),
    "two options": ("", "", "objective.lowest=0.9", "error: objective.lowest=0.9: must not be above objective.highest"),
    "a key": ("", "", "objective.lowst=0.1", "error: objective.lowst: no such key; did you mean objective.lowest?"),
    "corrupt": ("share_S = self.options.lowest +", "share_S = self.options.lower +", "",
                "AttributeError: 'PerProtein' object has no attribute 'lower'"),
    "loss": ("noisy.predicted_T).double().sum()", "noisy.predicted_T, 1).double().sum()", "",
             "TypeError: log_probability() takes 3 positional arguments but 4 were given"),
    "class": ("@dataclass(frozen=True, kw_only=True)\n", "", "--help", "PerProtein: write @dataclass(frozen=True, "),
    "text": ('option(0.05, "least share of a protein\'s residues that is masked", (0.001, 1.0))', "0.05", "--help",
             "PerProtein.lowest: write its value as option(DEFAULT,"),
    "method": ("def build_process(", "def build_proces(", "--help", "PerProtein: there is no method build_process()"),
    "taken": ('option("per_protein"', 'option("mlm"', "--help", "PerProtein.name=mlm: this package has an objective"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_told_in_one_line(what: str, run: Run, folder: Path) -> None:
    """Where the mistake is in the file: with its line, and not one of ours."""
    right, wrong, override, message = MISTAKES[what]
    text = FILES["per_protein.py"]
    assert right in text
    name = f"mistake_{what.replace(' ', '_')}.py"
    (folder / name).write_text(text.replace(right, wrong) if right else text)
    done = run(f"python {name} name=mistake {override}")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr
    if what in ("corrupt", "loss"):
        line = (folder / name).read_text()[: (folder / name).read_text().index(wrong)].count("\n") + 1
        assert f"{name}, line {line}: {message}" in done.stderr
    assert (f"{name}, line " in done.stderr) == (what not in ("an option", "two options", "a key"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import torch\ndef f(:\n    pass\n", "mine.py, line 2: "),
        ("import torch\n\nraise_it(3)\n", "mine.py, line 3: NameError: name 'raise_it' is not defined"),
        (None, "D2PLM_IMPORT="),
    ],
)
def test_files_that_are_named_and_cannot_be_run(text: str | None, message: str, run: Run, folder: Path) -> None:
    mine = folder / "mine.py"
    mine.unlink(missing_ok=True)
    if text is not None:
        mine.write_text(text)
    done = run("python my_run.py --dry-run", D2PLM_IMPORT="mine.py")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert message in done.stderr
