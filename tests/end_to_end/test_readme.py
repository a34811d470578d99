"""The commands of README and of the pages in docs are run as printed, in order, in a folder of their own."""

import gzip
import hashlib
import json
import os
import re
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

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/data.md")
LINKED = ("recipes", "d2plm_megatron", "data_tools", "benchmarks", "Makefile")
TESTED_ELSEWHERE = {"make install": "test_make.py", "make demo": "test_commands.py"}
APPENDED = {
    "python -m data_tools.simulate": "--proteins 400",
    "python -m data_tools.download": "--mirror {mirror}",
    "python recipes/absorbing_tiny.py data.train=data/family/train data.validation=data/family/validation name=mine": (
        "train.max_steps=4 validation.every_steps=2"
    ),
    "python recipes/absorbing_tiny.py data.train=data/family/train parallel.sharding=parameters": "train.max_steps=2",
    "python -m d2plm_megatron.evaluation": "--draws 2",
    "python -m d2plm_megatron.generation": "--num-sequences 8 --steps 4",
    "torchrun": "train.max_steps=2",
}
"""What is added to a command, by its beginning, so that it takes seconds and needs no network; nothing else differs."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like a checkout, with the environment that the tests run in."""
    if not Path(sys.prefix, "bin", "activate").exists() or not shutil.which("mmseqs"):
        pytest.skip("needs a virtual environment, and MMseqs2 as README says")
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.fixture
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


def _commands(page: str) -> list[str]:
    """The commands of a page, from its blocks of bash, without their comments."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line))]


def _run(command: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    said = f"$ {command}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    assert done.returncode == 0, said
    assert "Traceback" not in done.stderr and "error:" not in done.stderr, said


def test_every_command_works_as_printed(folder: Path, mirror: str) -> None:
    outside = [place for place in os.environ["PATH"].split(":") if Path(place) != Path(sys.prefix, "bin")]
    environment = {**os.environ, "PATH": ":".join(outside), "OMP_NUM_THREADS": "1"}
    entered, used = "", set()
    for command in (command for page in PAGES for command in _commands(page)):
        if command.startswith("source "):
            entered = f"{command}; "
        elif command not in TESTED_ELSEWHERE:
            begins = {begin for begin in APPENDED if command.startswith(begin)}
            more = [APPENDED[begin].format(mirror=mirror) for begin in begins]
            _run(" ".join([entered + command, *more]), folder, environment)
            used |= begins
    assert used == set(APPENDED)

    found = json.loads((folder / "runs" / "mine" / "report.json").read_text())
    assert {"evaluation", "samples", "reference", "novelty"} <= found.keys()  # nothing is left out
    assert found["run"]["checkpoints"]["evaluation"] == found["run"]["checkpoints"]["samples"]
    assert not (folder / "runs" / "fm_450m").exists()  # a rehearsal has a folder of its own
    assert (folder / "runs" / "fm_450m-rehearsal").exists()


def test_pages_that_are_linked_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
            target = (page.parent / link[0]).resolve() if link[0] else page
            assert target.exists(), f"{page.name}: {link[0]}"
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if link[1] else []
            names = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert not link[1] or link[1] in names, f"{page.name}: {link[0]}#{link[1]}"
