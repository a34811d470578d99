"""What README and the pages of docs tell users to type is run as printed, in a folder like a checkout."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_tools.download import DATABASES
from data_tools.simulate import main as simulate
from tests.pages import PAGES, ROOT, runnable

pytestmark = pytest.mark.timeout(1500)  # README's commands are ten, and a machine may be busy

LINKED = ("recipes", "d2plm_megatron", "data_tools", "launchers", "benchmarks", "Makefile")
TESTED_ELSEWHERE = {"make install": "test_make.py", "make demo": "test_commands.py"}
APPENDED = {
    "d2plm simulate": "--proteins 400",
    "d2plm download": "--mirror {mirror}",
    "d2plm train absorbing_tiny data.train=data/family/train data.validation=data/family/validation name=mine": (
        "train.max_steps=4 validation.every_steps=2"
    ),
    "d2plm evaluate": "--draws 2",
    "d2plm generate": "--num-sequences 8 --steps 4",
    "torchrun": "train.max_steps=2",
    "torchrun --nproc-per-node 2 -m d2plm_megatron train absorbing_tiny": "train.max_steps=3",
}
"""What is added to a command, by its longest beginning, so that it takes seconds and needs no network."""


class Checkout:
    """A folder like a checkout, in which each command of the pages is run once.

    folder  the folder
    mirror  the server that stands in for UniProt's
    done    the commands that were run
    """

    def __init__(self, folder: Path, mirror: str) -> None:
        self.folder, self.mirror = folder, mirror
        self.done: set[str] = set()
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(sys.prefix)
        outside = [place for place in os.environ["PATH"].split(":") if Path(place) != Path(sys.prefix, "bin")]
        self._environment = {**os.environ, "PATH": ":".join(outside), "OMP_NUM_THREADS": "1"}
        self._entered = ""

    def run(self, page: str) -> None:
        """Runs the commands of a page that were not run yet, then its Python as one script."""
        blocks = runnable(page)
        for command in (command for block in blocks if block.language == "bash" for command in block.commands()):
            if command.startswith("source "):
                self._entered = f"{command}; "
            elif command not in self.done | TESTED_ELSEWHERE.keys():
                self._run(command)
                self.done.add(command)
        if script := "\n".join(block.text for block in blocks if block.language == "python"):
            (self.folder / "page.py").write_text(script, encoding="utf-8")
            self._run("python page.py")

    def _run(self, command: str) -> None:
        more = APPENDED.get(beginning(command), "").format(mirror=self.mirror)
        done = subprocess.run(
            ["bash", "-c", f"{self._entered}{command} {more}"],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = f"$ {command} {more}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        assert done.returncode == 0, said
        assert "Traceback" not in done.stderr and "error:" not in done.stderr, said


def beginning(command: str) -> str:
    """The longest of APPENDED that a command begins with; "" where there is none."""
    return max((begin for begin in APPENDED if command.startswith(begin)), key=len, default="")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a small UniRef50."""
    served = tmp_path_factory.mktemp("mirror")
    file = served / DATABASES["uniref50"]
    file.parent.mkdir(parents=True)
    simulate(
        served / "raw.fasta", proteins=900, mean_identity=0.25, seed=1
    )  # as UniRef50, whose proteins are little alike
    file.write_bytes(gzip.compress((served / "raw.fasta").read_bytes()))
    (file.parent / "RELEASE.metalink").write_text(
        f'<metalink><version>2026_04</version><files><file name="{file.name}"><size>{file.stat().st_size}</size>'
        f'<verification><hash type="md5">{hashlib.md5(file.read_bytes()).hexdigest()}</hash></verification>'
        "</file></files></metalink>"
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, mirror: str) -> Checkout:
    if not Path(sys.prefix, "bin", "activate").exists() or not shutil.which("mmseqs"):
        pytest.skip("needs a virtual environment, and MMseqs2 as docs/install.md says")
    return Checkout(tmp_path_factory.mktemp("checkout"), mirror)


def test_readme_works_as_printed(checkout: Checkout) -> None:
    checkout.run("README.md")
    runs = checkout.folder / "runs"
    found = json.loads((runs / "mine" / "report.json").read_text())
    assert {"evaluation", "samples", "reference", "novelty"} <= found.keys()  # nothing is left out
    assert found["run"]["checkpoints"]["evaluation"] == found["run"]["checkpoints"]["samples"]
    assert not (runs / "fm_450m").exists()  # a smoke run has a folder of its own
    assert (runs / "fm_450m-smoke").exists()


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md" and runnable(page)])
def test_page_works_as_printed(page: str, checkout: Checkout) -> None:
    """After README, on whose data and run every page may rely."""
    checkout.run("README.md")
    checkout.run(page)


def test_what_is_appended_belongs_to_a_command() -> None:
    commands = [command for page in PAGES for block in runnable(page) for command in block.commands()]
    assert {beginning(command) for command in commands} - {""} == set(APPENDED)
    assert set(TESTED_ELSEWHERE) <= set(commands)
    for command, name in TESTED_ELSEWHERE.items():
        assert command.split()[1] in (ROOT / "tests" / "end_to_end" / name).read_text(encoding="utf-8")
