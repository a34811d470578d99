"""The container image: what it must keep of its base, and whether it did.

Dockerfile.ngc runs this file by itself, before anything is installed, so that it needs Python alone:

    python launchers/image.py constraints > constraints.txt            what the base has and must keep, for pip
    python launchers/image.py requirements pyproject.toml launch,zstd  what the package and its extras need
    python launchers/image.py check constraints.txt                    fails unless all is as it was, and is imported

NGC builds torch, Transformer Engine and Apex together, against one CUDA. Another version of any of them, from an index,
would be imported in its place, and fail or lose the kernels that the image is for.
"""

import pkgutil
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import distributions
from pathlib import Path

KEPT = (
    *("torch", "torchvision", "torchaudio", "torchao", "triton", "*-triton"),
    *("transformer-engine", "transformer-engine-*", "apex", "flash-attn", "flash-attn-*"),
    *("numpy", "cuda-*", "nvidia-*"),
)
"""Distributions that belong together in the base: torch and CUDA, and what was compiled against torch or numpy."""

NEEDED = ("torch", "transformer-engine", "numpy")
"""Those of KEPT without which the base is not one for this image. Apex is kept where there is one."""

IMPORTED = (
    "torch:Tensor",
    "transformer_engine.pytorch:DotProductAttention",
    "transformer_engine.pytorch.attention.dot_product_attention.backends:FusedAttention",
    "d2plm_megatron:__version__",
)
"""What must be there to train with fused kernels, as module:name."""

COMMANDS = "constraints | requirements PYPROJECT EXTRA,EXTRA | check CONSTRAINTS"


def kept() -> dict[str, str]:
    """The versions of the installed distributions of KEPT, by name, as this interpreter would import them."""
    found: dict[str, str] = {}
    for distribution in distributions():
        found.setdefault(_normal(distribution.name), distribution.version)  # the first on the path is what is imported
    return {name: found[name] for name in sorted(found) if any(fnmatchcase(name, pattern) for pattern in KEPT)}


def constraints() -> str:
    """A constraints file for pip with what must be kept. Raises ValueError where this is no base for the image."""
    base = kept()
    if missing := [name for name in NEEDED if name not in base]:
        raise ValueError(
            f"{', '.join(missing)}: not installed here; begin with an NGC image of PyTorch (--build-arg BASE=)"
        )
    return "".join(f"{name}=={version}\n" for name, version in base.items())


def requirements(pyproject: Path, extras: Sequence[str]) -> str:
    """What the package depends on, with some of its extras, as a requirements file for pip.

    Raises ValueError for an extra that there is none of.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    optional: Mapping[str, list[str]] = project["optional-dependencies"]
    if unknown := [extra for extra in extras if extra not in optional]:
        raise ValueError(f"{unknown[0]}: no extra of {pyproject}; there are {', '.join(optional)}")
    return "".join(f"{line}\n" for line in [*project["dependencies"], *(line for e in extras for line in optional[e])])


def check(path: Path) -> str:
    """Whether all that was kept is as it was, nothing of its kind came in, and fused attention can be imported.

    Args:
        path: what `constraints` printed before anything was installed.

    Returns one line for each distribution. Raises ValueError with all that is wrong.
    """
    was = dict(line.split("==", 1) for line in path.read_text(encoding="utf-8").splitlines())
    now = kept()
    problems = [f"{name} was {was[name]} and is {now.get(name, 'gone')}" for name in was if now.get(name) != was[name]]
    problems += [f"{name} {now[name]} came in" for name in now if name not in was]
    problems += [problem for name in IMPORTED if (problem := _not_imported(name))]
    if problems:
        raise ValueError(f"the image is not what its base was: {'; '.join(problems)}")
    return "".join(f"{name} {version}: as in the base\n" for name, version in now.items())


def main(words: list[str]) -> str:
    """What the command prints that these words are. Raises ValueError for words that are none."""
    match words:
        case ["constraints"]:
            return constraints()
        case ["requirements", pyproject, extras]:
            return requirements(Path(pyproject), extras.split(","))
        case ["check", path]:
            return check(Path(path))
    raise ValueError(f"{' '.join(words) or 'no command'}: one of these is needed: {COMMANDS}")


def _not_imported(name: str) -> str | None:
    try:
        pkgutil.resolve_name(name)
    except Exception as error:  # a library that does not load raises what it likes
        return f"{name} cannot be imported: {type(error).__name__}: {error}"
    return None


def _normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:]))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
