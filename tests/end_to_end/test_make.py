"""What the Makefile does to folders: nothing is deleted that it did not make, and nothing half-made is kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with nothing but the Makefile and what it depends on."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def _make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env={**clean, **environment}, capture_output=True, text=True, timeout=100
    )


def test_make_alone_says_what_there_is(checkout: Path) -> None:
    printed = _make(checkout).stdout
    assert all(f"make {target} " in printed for target in ("install", "demo", "test", "lint"))
    assert sorted(path.name for path in checkout.iterdir()) == ["Makefile", "pyproject.toml"]


@pytest.mark.parametrize("run", ["", "a b", ".", "..", "mine", "mine/", "-x", "x'y", "x;y", "*"])
def test_demo_refuses_a_folder_that_no_demo_made(run: str, checkout: Path) -> None:
    (checkout / "mine").mkdir()
    (checkout / "mine" / "work").touch()
    done = _make(checkout, "demo", f"RUN={run}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: RUN={run}: "), done.stderr
    assert (checkout / "mine" / "work").exists()
    assert not (checkout / ".venv").exists()  # refused before anything else is done


@pytest.mark.parametrize("run", ["new/folder", "empty", "demo"])
def test_demo_takes_a_folder_that_is_its_own_or_new(run: str, checkout: Path) -> None:
    (checkout / "empty").mkdir()
    (checkout / "demo").mkdir()
    (checkout / "demo" / ".demo").touch()
    assert _make(checkout, "demo-folder", f"RUN={run}").returncode == 0


def test_install_needs_a_python_that_will_do(checkout: Path) -> None:
    old = checkout / "python3.10"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.9 && exit\nexit 1\n')
    old.chmod(0o755)
    done = _make(checkout, "install", f"PYTHON={old}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Python 3.11 or 3.12 with venv is needed (found: Python 3.10.9); install one")
    assert not (checkout / ".venv").exists()


def test_install_that_failed_is_begun_anew(checkout: Path) -> None:
    """Without an index nothing can be installed; what there was before has gone, and nothing says that all is well."""
    left = checkout / ".venv" / "lib" / "left"
    left.parent.mkdir(parents=True)
    left.touch()
    nowhere = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    done = _make(checkout, "install", f"PYTHON={sys.executable}", "TORCH=torch==2.13.0", **nowhere)
    assert done.returncode == 2
    assert "No matching distribution found for torch==2.13.0" in done.stderr
    assert f"Setting up {checkout}/.venv: 250 MB to download" in done.stdout
    assert not left.exists()
    assert not (checkout / ".venv" / "installed").exists()
