"""launchers/ngc.sh, with a docker that writes down how it was called."""

import json
import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "launchers" / "ngc.sh"
DOCKER = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLED"], "w") as file:
    json.dump({{"arguments": sys.argv[1:], "token": os.environ.get("TOKEN")}}, file)
sys.exit(75)
"""

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Calls the script with these arguments and variables, and no terminal."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the script is started, with a space in its name."""
    folder = tmp_path / "my runs"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path: Path, folder: Path) -> Run:
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    path = f"{docker.parent}:{os.environ['PATH']}"

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": path, "CALLED": str(tmp_path / "called.json"), **variables}
        return subprocess.run(
            [SCRIPT, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    return run


def called(tmp_path: Path) -> list[str]:
    arguments: list[str] = json.loads((tmp_path / "called.json").read_text())["arguments"]
    return arguments


def option(arguments: list[str], name: str) -> list[str]:
    """The values of an option, in order."""
    return [value for given, value in pairwise(arguments) if given == name]


def test_command_gets_the_machine(run: Run, tmp_path: Path, folder: Path) -> None:
    done = run("--", "torchrun", "--nproc-per-node", "2", "x.py", "name=a b; c")
    assert done.returncode == 75, done.stderr  # interrupted and saved, as the command said
    arguments = called(tmp_path)
    end = arguments.index("d2plm")
    assert arguments[end + 1 :] == ["torchrun", "--nproc-per-node", "2", "x.py", "name=a b; c"]
    assert arguments[0] == "run" and {"--rm", "--init", "--ipc=host"} <= set(arguments[:end])
    assert option(arguments, "--gpus") == ["all"]
    assert option(arguments, "--ulimit") == ["memlock=-1", "stack=67108864"]
    assert option(arguments, "--user") == [f"{os.getuid()}:{os.getgid()}"]
    assert option(arguments, "--workdir") == [str(folder)]
    assert option(arguments, "--mount") == [f"type=bind,source={folder},target={folder}"]
    assert "--tty" not in arguments  # nobody is there to type


def test_options_are_handed_on(run: Run, tmp_path: Path, folder: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    options = ["--image", "other:1", "--gpus", "none", "--shm-size", "16g", "--mount", "../data", "--env", "TOKEN"]
    run(*options, "d2plm", "recipes", TOKEN="hidden")
    arguments = called(tmp_path)
    assert arguments[-3:] == ["other:1", "d2plm", "recipes"]
    assert option(arguments, "--shm-size") == ["16g"]
    assert option(arguments, "--mount")[1] == f"type=bind,source={data},target={data}"
    assert "--gpus" not in arguments and "--ipc=host" not in arguments
    assert option(arguments, "--env") == ["TOKEN"]
    assert not any("hidden" in argument for argument in arguments)
    assert json.loads((tmp_path / "called.json").read_text())["token"] == "hidden"


def test_dry_run_prints_what_it_would_run(run: Run, tmp_path: Path, folder: Path) -> None:
    done = run("--dry-run", "--", "d2plm", "train", "fm_tiny", "name=a b")
    assert done.returncode == 0 and not (tmp_path / "called.json").exists()
    printed = shlex.split(done.stdout)
    assert printed[:2] == ["docker", "run"] and printed[-4:] == ["d2plm", "train", "fm_tiny", "name=a b"]
    assert option(printed, "--workdir") == [str(folder)]


def test_terminal_is_handed_on(run: Run, folder: Path) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs) as terminal:
        subprocess.run([SCRIPT, "--dry-run", "bash"], cwd=folder, stdin=terminal, stdout=terminal, check=True)
        assert "--interactive --tty" in os.read(ours, 4096).decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command: name one"),
        (["--gpu", "2", "bash"], "--gpu: no such option"),
        (["--image"], "--image: needs a value"),
        (["--mount", "gone", "bash"], "--mount gone: no such folder"),
        (["--mount", "a,b", "bash"], "cannot mount a path with a comma"),
        (["--env", "TOKEN=hidden", "bash"], "--env TOKEN: give the name alone"),
        (["--env", "NOT_SET", "bash"], "--env NOT_SET: is not set"),
    ],
)
def test_slip_is_told_in_a_line(arguments: list[str], message: str, run: Run, tmp_path: Path, folder: Path) -> None:
    (folder / "a,b").mkdir()
    done = run(*arguments)
    assert done.returncode == 2 and not (tmp_path / "called.json").exists()
    assert done.stderr.startswith("error: ") and message in done.stderr and "hidden" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_machine_without_docker_is_told_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bin" / "docker").unlink()
    for name in ("bash", "id"):
        found = next(place for place in os.environ["PATH"].split(":") if Path(place, name).exists())
        (tmp_path / "bin" / name).symlink_to(Path(found, name))
    done = run("bash", PATH=str(tmp_path / "bin"))
    assert done.returncode == 2 and done.stderr.startswith("error: docker: not found")


def test_help_explains_every_option(run: Run) -> None:
    printed = run("--help").stdout
    assert all(f"--{name} " in printed for name in ("image", "gpus", "mount", "env", "shm-size", "dry-run"))
