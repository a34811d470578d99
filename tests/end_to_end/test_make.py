"""What the Makefile does to folders: nothing is deleted that it did not make, and nothing half-made is kept."""

import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


NOWHERE = {
    "PIP_INDEX_URL": "http://127.0.0.1:9",
    "PIP_RETRIES": "0",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_FIND_LINKS": "",
}
"""A package index that does not answer, and no other."""


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
    done = _make(checkout, "install", f"PYTHON={sys.executable}", "TORCH=torch==2.13.0", **NOWHERE)
    assert done.returncode == 2
    assert "No matching distribution found for torch==2.13.0" in done.stderr
    assert f"Setting up {checkout}/.venv: 250 MB to download" in done.stdout
    assert not left.exists()
    assert not (checkout / ".venv" / "installed").exists()


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("nvidia-smi") is not None, reason="it has the other build")
@pytest.mark.parametrize("answers", [True, False])
def test_install_asks_for_the_cpu_build_where_its_index_answers(answers: bool, checkout: Path) -> None:
    asked: list[str] = []

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['User-Agent'].partition('/')[0]} {self.path}")
            self.send_response(200 if answers or "cpu" not in self.path else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        usual = {**NOWHERE, "PIP_INDEX_URL": f"{url}/usual"}
        done = _make(checkout, "install", f"PYTHON={sys.executable}", f"CPU_INDEX={url}/cpu", **usual)
        server.shutdown()
    assert asked == ["Python-urllib /cpu/torch/", *["pip /cpu/torch/"] * answers, "pip /usual/torch/"]
    assert ("No NVIDIA GPU here: the CPU build of torch" in done.stdout) == answers
    assert done.returncode == 2  # both are empty
