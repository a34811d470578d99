"""The wheel that is built from the tree works by itself, outside the checkout, and takes no name but its own."""

import json
import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT_FROM = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
    "d2plm_megatron",
    "data_tools",
    "launchers",
    "recipes",
)
NO_INDEX = ["--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]


def _succeed(*command: str | Path, cwd: Path, **environment: str) -> str:
    ours = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=cwd, env={**ours, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is built from, without what earlier builds may have left in the checkout."""
    tree = tmp_path_factory.mktemp("tree")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree)
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    """The wheel, built without a network."""
    options = [*NO_INDEX, "--no-build-isolation", "--wheel-dir", str(tree / "wheels")]
    _succeed(sys.executable, "-m", "pip", "wheel", *options, str(tree), cwd=tree)
    [path] = (tree / "wheels").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it, which sees what the wheel depends on where the tests have it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    _succeed(sys.executable, "-m", "pip", "--python", str(python), "install", *NO_INDEX, str(wheel), cwd=folder)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))  # in which .pth files are not read
    return folder


def test_it_installs_one_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"d2plm_megatron", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}


def test_it_holds_every_file_of_the_tree(tree: Path, wheel: Path) -> None:
    """A room that is new, or a template, is not forgotten."""
    kinds = {".py", ".html", ".fasta", ".yaml", ".sbatch"}
    here = {
        f"{'' if name == 'd2plm_megatron' else 'd2plm_megatron/'}{path.relative_to(tree)}"
        for name in BUILT_FROM
        for path in (tree / name).rglob("*")
        if path.suffix in kinds
    }
    assert here == {name for name in zipfile.ZipFile(wheel).namelist() if Path(name).suffix in kinds}


def test_from_nothing_to_a_report_outside_the_checkout(environment: Path, tmp_path: Path) -> None:
    d2plm = environment / "bin" / "d2plm"
    where = "import d2plm_megatron, sys; print(d2plm_megatron.__file__, *sys.path)"
    origin, *path = _succeed(environment / "bin" / "python", "-c", where, cwd=tmp_path).split()
    assert Path(origin).is_relative_to(environment) and str(ROOT) not in path
    assert "d2plm train" in _succeed(d2plm, "--help", cwd=tmp_path)
    assert "absorbing_450m" in _succeed(d2plm, "recipes", cwd=tmp_path)
    _succeed(d2plm, "simulate", "--output", "raw.fasta", "--proteins", "200", cwd=tmp_path)
    _succeed(d2plm, "prepare", "--input", "raw.fasta", "--output", "data", "--no-homology", cwd=tmp_path)
    launch = (d2plm, "launch", "absorbing_tiny", "data.train=data/train", "--dry-run")
    assert f"{environment}/bin/python -m d2plm_megatron train absorbing_tiny" in _succeed(*launch, cwd=tmp_path)
    _succeed(
        *(d2plm, "train", "absorbing_tiny", "data.train=data/train", "name=mine"),
        *("train.max_steps=2", "train.global_batch_tokens=1024"),
        cwd=tmp_path,
        OMP_NUM_THREADS="1",
    )
    assert "whole" in _succeed(d2plm, "checkpoint", "verify", "runs/mine", cwd=tmp_path)
    _succeed(d2plm, "report", "runs/mine", "--reference", "raw.fasta", cwd=tmp_path)
    assert json.loads((tmp_path / "runs/mine/report.json").read_text())["run"]["steps"] == 2
    with_torchrun = [environment / "bin" / "python", "-m", "torch.distributed.run", "-m", "d2plm_megatron"]
    assert "name: again" in _succeed(
        *with_torchrun, "train", "--from", "runs/mine", "name=again", "--cfg", "job", cwd=tmp_path
    )


def test_a_tree_on_the_path_is_enough(tree: Path, tmp_path: Path) -> None:
    """Nothing is installed, and PYTHONPATH names the checkout."""
    bare = [sys.executable, "-S", "-m", "d2plm_megatron"]
    path = os.pathsep.join([str(tree), *site.getsitepackages()])
    assert "absorbing_450m" in _succeed(*bare, "recipes", cwd=tmp_path, PYTHONPATH=path)
    _succeed(*bare, "simulate", "--output", "raw.fasta", "--proteins", "20", cwd=tmp_path, PYTHONPATH=path)
    assert (tmp_path / "raw.fasta").exists()
    assert "name: fm_tiny" in _succeed(*bare, "train", "fm_tiny", "--cfg", "job", cwd=tmp_path, PYTHONPATH=path)
