"""What launchers/image.py keeps of a base, in environments with stand-ins of torch, Transformer Engine and Apex."""

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.test_wheel import BUILT_FROM
from verification.image import APEX, BACKENDS, STAND_INS, TORCH, TRANSFORMER_ENGINE, write_wheel

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "launchers" / "image.py"
KEPT = f"apex=={APEX}\nnumpy==1.26.4\ntorch=={TORCH}\ntransformer-engine=={TRANSFORMER_ENGINE}\n"


class Environment:
    """An environment with wheels installed in it, and an index of others: a folder, as there is no network."""

    def __init__(self, folder: Path) -> None:
        self.index = folder / "index"
        self.index.mkdir()
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        self.constraints = folder / "constraints.txt"

    def install(self, *wanted: str | Path) -> subprocess.CompletedProcess[str]:
        """Asks pip for distributions, under the constraints where there are some."""
        options = ["--quiet", "--disable-pip-version-check", "--no-index", "--find-links", str(self.index)]
        constraints = ["--constraint", str(self.constraints)] if self.constraints.exists() else []
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--upgrade", *options]
        return subprocess.run([*pip, *constraints, *map(str, wanted)], capture_output=True, text=True, timeout=200)

    def image(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs the script by itself, as the image is built."""
        return subprocess.run([self.python, SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The base, and the package with what it needs, installed under constraints from an index with a newer torch."""
    environment = Environment(tmp_path_factory.mktemp("built"))
    index = environment.index
    base = [write_wheel(index, name, version, modules) for (name, version), modules in STAND_INS.items()]
    assert environment.install(*base, write_wheel(index, "numpy", "1.26.4")).returncode == 0
    environment.constraints.write_text(environment.image("constraints").stdout)
    write_wheel(index, "torch", "2.13.0", requires=["nvidia-nccl-cu13"])
    write_wheel(index, "nvidia_nccl_cu13", "2.28.9")
    write_wheel(index, "numpy", "2.4.6")
    write_wheel(index, "megatron_core", "0.16.1", requires=["torch>=2.6.0", "numpy"])
    write_wheel(index, "wants_more", "1.0", requires=["torch>=2.11"])
    modules = {"d2plm_megatron/__init__.py": "__version__ = '1.0'\n"}
    write_wheel(index, "d2plm_megatron", "1.0", modules, requires=["torch>=2.7", "numpy>=1.26", "megatron-core"])
    assert environment.install("d2plm_megatron").returncode == 0
    return environment


@pytest.fixture
def changed(built: Environment, tmp_path: Path) -> Environment:
    """A copy that a test may spoil, whose pip has no constraints."""
    environment = Environment(tmp_path)
    [theirs], [ours] = (
        python.parents[1].glob("lib/python*/site-packages") for python in (built.python, environment.python)
    )
    shutil.copytree(theirs, ours, dirs_exist_ok=True)
    environment.index = built.index
    return environment


def test_base_is_as_it_was_after_the_package_came(built: Environment) -> None:
    assert built.constraints.read_text() == KEPT
    done = built.image("check", built.constraints)
    assert done.returncode == 0, done.stderr
    assert done.stdout == KEPT.replace("==", " ").replace("\n", ": as in the base\n")


def test_what_needs_another_torch_is_refused(built: Environment) -> None:
    done = built.install("wants_more")
    assert done.returncode != 0 and "conflict" in done.stderr
    assert built.image("check", built.constraints).returncode == 0


def _with_another_torch(environment: Environment) -> None:
    assert environment.install("wants_more").returncode == 0  # nothing holds it back


def _without_apex(environment: Environment) -> None:
    pip = [sys.executable, "-m", "pip", "--python", environment.python, "uninstall", "--quiet", "--yes", "apex"]
    subprocess.run(pip, check=True)


def _with_broken_attention(environment: Environment) -> None:
    [path] = environment.python.parents[1].glob(f"lib/python*/site-packages/{BACKENDS}")
    path.write_text("raise OSError('libcudnn.so.9: cannot open shared object file')\n")


@pytest.mark.parametrize(
    ("spoil", "messages"),
    [
        (_with_another_torch, [f"torch was {TORCH} and is 2.13.0", "nvidia-nccl-cu13 2.28.9 came in"]),
        (_without_apex, [f"apex was {APEX} and is gone"]),
        (_with_broken_attention, ["backends:FusedAttention cannot be imported: OSError: libcudnn.so.9"]),
    ],
)
def test_change_is_noticed(
    spoil: Callable[[Environment], None], messages: list[str], changed: Environment, built: Environment
) -> None:
    spoil(changed)
    done = changed.image("check", built.constraints)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: the image is not what its base was: ")
    assert all(message in done.stderr for message in messages), done.stderr


def test_base_without_transformer_engine_is_none(tmp_path: Path) -> None:
    done = Environment(tmp_path).image("constraints")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: torch, transformer-engine, numpy: not installed here; begin with an NGC image"
    )


def test_requirements_are_those_of_the_package() -> None:
    printed = subprocess.run(
        [sys.executable, SCRIPT, "requirements", ROOT / "pyproject.toml", "launch,track"],
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    names = {re.split(r"[<>=]", line)[0] for line in printed}
    assert {"torch", "megatron-core", "nemo_run", "wandb"} <= names and "zstandard" not in names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["requirements", ROOT / "pyproject.toml", "launch,trakc"], "trakc: no extra of"),
        (["requirements", "gone.toml", "launch"], "gone.toml"),
        (["constrain"], "constrain: one of these is needed: constraints | "),
    ],
)
def test_slip_is_told(words: list[str | Path], message: str) -> None:
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and message in done.stderr


def test_docker_sees_what_the_wheel_is_built_from_and_nothing_else() -> None:
    """And what Dockerfile.ngc copies by name lies within."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*" and rules[-1] == "**/__pycache__"
    seen = {rule.removeprefix("!") for rule in rules[1:-1]}
    assert seen == {*BUILT_FROM, "launchers"}
    copied = re.findall(r"^COPY (\S+)", (ROOT / "Dockerfile.ngc").read_text(encoding="utf-8"), re.MULTILINE)
    assert "." in copied
    assert all(path.partition("/")[0] in seen and (ROOT / path).is_file() for path in copied if path != ".")
