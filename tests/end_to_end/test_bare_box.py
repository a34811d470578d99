"""The first look on a GPU box, without one: what it installs, runs and leaves behind."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

SCRIPT = Path(__file__).parents[1] / "gpu" / "bare_box.sh"
PLUGIN = """
def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("from a wheel")
"""


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with a wheel of a plugin of pytest, and one of what is installed already, which is broken."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, code in (("bare_box_plugin", PLUGIN), ("pytest", "raise ImportError('not to be installed')")):
        with ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", code)
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(
                f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return folder


def _run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable, **environment}
    )


def test_parts_run_with_what_the_wheels_add(wheels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = _run("run", wheels, out, "tests", PYTEST_PLUGINS="bare_box_plugin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from a wheel" in (out / "tests.txt").read_text()
    assert "skipped" in (out / "tests.txt").read_text()
    assert [path.name for path in out.iterdir()] == ["tests.txt"]


def test_a_part_that_fails_keeps_none_from_running(tmp_path: Path) -> None:
    done = _run("run", tmp_path / "none", tmp_path / "out", "nonsense", "tests")
    assert done.returncode == 1
    assert done.stderr == "failed: nonsense\n"
    assert "no part is called nonsense" in (tmp_path / "out" / "nonsense.txt").read_text()
    assert "skipped" in (tmp_path / "out" / "tests.txt").read_text()


def test_its_use_is_told() -> None:
    done = _run("run")
    assert done.returncode == 2
    assert "bare_box.sh run WHEELS OUT" in done.stderr
