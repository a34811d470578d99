"""Dockerfile.ngc, built on a stand-in of its base and tried as any user: `python -m verification.image`, in minutes.

The stand-in is a small Debian with numpy, and with wheels that have the names and versions of NGC's torch, Transformer
Engine and Apex but next to no code. So the Dockerfile is proved, with all that pip resolves, and the libraries are not.
Needs Linux, root, buildah, debootstrap and a network; Docker is not needed.
"""

import json
import os
import shutil
import ssl
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from d2plm_megatron.console import run

ROOT = Path(__file__).parents[1]
TOOLS = ("buildah", "debootstrap")
TORCH, TRANSFORMER_ENGINE, APEX = "2.10.0a0+b558c986e8.nv25.11", "2.9.0+70f53666", "0.1"
BACKENDS = "transformer_engine/pytorch/attention/dot_product_attention/backends.py"
STAND_INS: dict[tuple[str, str], dict[str, str]] = {
    ("torch", TORCH): {
        "torch/__init__.py": "class Tensor: pass\nclass dtype: pass\n",
        "torch/distributed/run.py": "import sys\nprint(sys.executable)\n",
    },
    ("transformer_engine", TRANSFORMER_ENGINE): {
        "transformer_engine/pytorch/__init__.py": "class DotProductAttention: pass\n",
        BACKENDS: "class FusedAttention: pass\n",
    },
    ("apex", APEX): {"apex/__init__.py": ""},
}
"""The modules that stand for those of NGC 25.11, by distribution and version."""

BASE = """FROM scratch
ADD debian.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin {settings}
COPY certificates.pem {certificates}
COPY wheels /wheels
RUN python3 -m pip install --break-system-packages --no-cache-dir numpy==1.26.4 /wheels/*.whl
"""

WHEEL = "Wheel-Version: 1.0\nGenerator: d2plm\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

ANYBODY = "54321:54321"
"""A user and a group that the image does not know."""

DRY_RUN = ("d2plm", "train", "absorbing_tiny", "--dry-run", "--world-size", "1")
TRIALS: dict[str, tuple[Sequence[str], str]] = {
    "dry run": (DRY_RUN, "800,128"),
    "user": (("id", "-u"), ANYBODY.partition(":")[0]),
    "home": (("bash", "-c", "mkdir -p ~/.cache/d2plm && echo $HOME $USER"), "/home/d2plm d2plm"),
    "torch": (("python", "-c", "from importlib.metadata import version; print(version('torch'))"), TORCH),
    "torchrun": (("torchrun", "recipe.py"), "/opt/d2plm/venv/bin/python"),
    "launcher": (("python", "-c", "import nemo_run; print(nemo_run.__version__)"), "0.11"),
    "another torch": (("bash", "-c", "! pip install --quiet --target /tmp/new torch==2.9.1 2>&1"), "conflicting"),
    "MMseqs2": (("mmseqs", "version"), "14"),
    "check": (
        ("python", "-m", "d2plm_megatron.launchers.image", "check", "/opt/d2plm/constraints.txt"),
        "as in the base",
    ),
}
"""What is run in the image by ANYBODY, and what it must print."""


def write_wheel(
    folder: Path, name: str, version: str, modules: Mapping[str, str] | None = None, requires: Sequence[str] = ()
) -> Path:
    """Writes a wheel of a few modules, which needs no tool to build; returns its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    described = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in (modules or {}).items():
            wheel.writestr(file, text)
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(described) + "\n")
        wheel.writestr(f"{name}-{version}.dist-info/WHEEL", WHEEL)
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path


def main(
    keep: Annotated[
        Path | None, typer.Option(help="folder for the base and the layers; kept for the next time")
    ] = None,
) -> None:
    """Builds the container image on a stand-in of its base, and runs commands in it as a user whom it does not know."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise ValueError(f"{', '.join(missing)}: not installed (apt install {' '.join(TOOLS)})")
    with TemporaryDirectory() as temporary:
        folder = (keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        builder = Builder(folder)
        builder.build_base()
        builder.build_image()
        for name, found in builder.tried():
            print(f"{name}: {found}", flush=True)
        print(f"image: {builder.described()}")


class Builder:
    """Builds and runs images with buildah, whose storage is in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def build_base(self) -> None:
        """Builds the stand-in of NGC's image, unless the folder has it."""
        context = self.folder / "context"
        if context.exists():
            return
        unfinished = self.folder / "unfinished"
        (unfinished / "wheels").mkdir(parents=True)
        self._debian(unfinished)
        for (name, version), modules in STAND_INS.items():
            write_wheel(unfinished / "wheels", name, version, modules)
        certificates = ssl.get_default_verify_paths().cafile
        shutil.copy(
            os.environ.get("PIP_CERT") or certificates or "/etc/ssl/certs/ca-certificates.crt",
            unfinished / "certificates.pem",
        )
        settings = {name: value for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "PIP_CERT")}
        (unfinished / "Dockerfile").write_text(
            BASE.format(
                settings=" ".join(f"{name}={value}" for name, value in settings.items()),
                certificates=settings.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"),
            )
        )
        self._buildah("bud", "--isolation", "chroot", "--tag", "stand-in", str(unfinished))
        unfinished.rename(context)

    def build_image(self) -> None:
        """Builds Dockerfile.ngc, whose layers are taken from the folder where nothing has changed."""
        arguments = ("BASE=localhost/stand-in", "MMSEQS2_VERSION=14-*")  # Debian's
        options = [word for argument in arguments for word in ("--build-arg", argument)]
        file = ("--file", str(ROOT / "Dockerfile.ngc"))
        self._buildah(
            "bud",
            "--isolation",
            "chroot",
            "--layers",
            "--format",
            "docker",
            "--tag",
            "d2plm",
            *options,
            *file,
            str(ROOT),
        )

    def tried(self) -> Iterator[tuple[str, str]]:
        """What was found in each trial, by its name. Raises ValueError for one that printed something else."""
        container = self._buildah("from", "localhost/d2plm").strip()
        try:
            for name, (command, wanted) in TRIALS.items():
                printed = self._buildah("run", "--isolation", "chroot", "--user", ANYBODY, container, "--", *command)
                if wanted not in printed:
                    raise ValueError(f"{name}: {' '.join(command)} printed {printed!r}, without {wanted!r}")
                yield name, wanted or "runs"
        finally:
            self._buildah("rm", container)

    def described(self) -> str:
        """What the image says of itself. Raises ValueError where it says nothing."""
        config = json.loads(self._buildah("inspect", "--type", "image", "localhost/d2plm"))["Docker"]["config"]
        if missing := [key for key in ("User", "Healthcheck", "Labels", "Cmd") if not config.get(key)]:
            raise ValueError(f"the image has no {', '.join(missing)}")
        return f"user {config['User']}, command {config['Cmd']}, health check, {len(config['Labels'])} labels"

    def _debian(self, folder: Path) -> None:
        tree = folder / "debian"
        packages = "python3,python3-pip,ca-certificates"
        _succeed("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(tree))
        _succeed("tar", "-C", str(tree), "-cf", str(folder / "debian.tar"), ".")
        shutil.rmtree(tree)

    def _buildah(self, verb: str, *words: str) -> str:
        storage = ("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "running"))
        return _succeed("buildah", *storage, verb, *words)


def _succeed(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    run(main)
