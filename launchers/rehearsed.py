"""What is checked about a recipe before it is submitted: its own dry run, and the rehearsal of its first rank."""

import subprocess
import sys
from collections.abc import Sequence

from .cluster import Cluster
from .plan import DATA_KEYS, Request

_COMMAND = (sys.executable, "-m", "d2plm_megatron")


def dry_run(request: Request, cluster: Cluster, shows: bool) -> None:
    """The recipe's own dry run, for as many processes and such GPUs; printed if `shows`.

    Raises ValueError with its words when the recipe cannot work so.
    """
    said = _run(["train", request.recipe, "--dry-run", *_size(request, cluster), *_overrides(request, cluster)])
    if shows:
        print(said, end="")


def rehearse(request: Request, cluster: Cluster) -> None:
    """The rehearsal of rank 0. Raises ValueError with its words when that rank cannot do its part."""
    print("rehearsing the first rank (--no-rehearsal leaves it out)", flush=True)
    _run(["rehearse", request.recipe, "--ranks", "0", *_size(request, cluster), *_overrides(request, cluster)])


def _size(request: Request, cluster: Cluster) -> list[str]:
    memory = ["--gpu-memory", str(cluster.gpu_memory)] if cluster.gpu_memory else []
    return ["--world-size", str(request.resources.num_processes), *memory]


def _overrides(request: Request, cluster: Cluster) -> Sequence[str]:
    """Without the data where they are not here, or not yet."""
    if cluster.ssh_tunnel is None and not request.prepare:
        return request.overrides
    kept = [text for text in request.overrides if text.partition("=")[0] not in DATA_KEYS]
    return [*kept, *(f"{key}=null" for key in DATA_KEYS)]


def _run(words: Sequence[str]) -> str:
    done = subprocess.run([*_COMMAND, *words], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return done.stdout
    errors = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
    raise ValueError(errors[-1] if errors else f"d2plm {' '.join(words)}: {done.stderr.strip()[-500:]}")
