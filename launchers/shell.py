"""Lines of bash, run where a cluster's commands are: on this machine, or by ssh on its login node."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from .cluster import Cluster, SshTunnel

TIMEOUT_SECONDS = 60
"""Of one line; a login node that takes longer is told of as one that does not answer."""

CANNOT_CONNECT = 255
"""ssh's own exit code."""


def run(cluster: Cluster, line: str) -> subprocess.CompletedProcess[str]:
    """What became of a line of bash: exit code, stdout and stderr. Raises ValueError where ssh does not get there."""
    command = _ssh(cluster.ssh_tunnel, line) if cluster.ssh_tunnel else ["bash", "-c", line]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{_where(cluster)}: no answer within {TIMEOUT_SECONDS} seconds to: {line}") from error
    if cluster.ssh_tunnel and done.returncode == CANNOT_CONNECT:
        raise ValueError(f"{_where(cluster)}: {last_line(done.stderr) or 'ssh cannot connect'}")
    return done


def output(cluster: Cluster, line: str) -> str:
    """What a line of bash printed; "" where it could not be run, as while a network is away."""
    try:
        return run(cluster, line).stdout
    except ValueError:
        return ""


def missing(cluster: Cluster, programs: Sequence[str]) -> list[str]:
    """Of these programs those that are not there."""
    return run(cluster, "; ".join(f"command -v {name} >/dev/null || echo {name}" for name in programs)).stdout.split()


def visible_gpus() -> int:
    """GPUs of this machine that a process started here may use, as NVIDIA's driver says; 0 without the driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shutil.which("nvidia-smi") is None or visible == "":
        return 0
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(
            f"nvidia-smi: no answer within {TIMEOUT_SECONDS} seconds; CUDA_VISIBLE_DEVICES= goes on without GPUs"
        ) from error
    there = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return there if visible is None else min(there, len(visible.split(",")))


def _ssh(tunnel: SshTunnel, line: str) -> list[str]:
    for program in ("ssh", "rsync"):  # nemo_run copies the experiment by rsync
        if shutil.which(program) is None:
            raise ValueError(
                f"ssh_tunnel: there is no {program} here; install it (apt-get install openssh-client rsync)"
            )
    # nemo_run's own connection checks no host's key; one that has changed is refused here, before that.
    options = ["-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=20"]
    options += [] if sys.stdin.isatty() else ["-o", "BatchMode=yes"]
    options += ["-p", str(tunnel.port)] if tunnel.port else []
    options += ["-i", tunnel.key] if tunnel.key else []
    return ["ssh", *options, f"{tunnel.user}@{tunnel.host}", f"bash -lc {shlex.quote(line)}"]


def _where(cluster: Cluster) -> str:
    tunnel = cluster.ssh_tunnel
    return f"ssh {tunnel.user}@{tunnel.host}" if tunnel else "bash"


def last_line(text: str) -> str:
    """The last that is not empty: what a program says of its end."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
