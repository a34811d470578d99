"""d2plm launch from a machine that is not on the cluster: through a real sshd, to a real Slurm behind it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket

import pytest

from benchmarks.random_proteins import short_lengths, write_proteins
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.runs.folder import RunFolder
from tests.slurm.jobs import Slurm, wait_until
from verification.tiny_runs import TINY

SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin yes
SetEnv SLURM_CONF={conf} PATH={path}
"""
CLUSTER = """\
executor: slurm
account: d2plm
partition: main
ssh_tunnel: {{host: 127.0.0.1, user: root, port: {port}, identity: {folder}/user, job_dir: {folder}/far}}
setup: export PATH={bin}:$PATH PYTHONPATH={checkout}
"""
RECIPE = """\
from pathlib import Path

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import from_yaml


def recipe() -> Recipe:
    from beside import PATH

    return from_yaml(Path(PATH))
"""


@dataclass(frozen=True)
class Laptop:
    """A folder with a recipe in two files, from which a cluster is reached through sshd alone."""

    folder: Path

    def launch(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Runs d2plm launch in it; there is no SLURM_CONF here."""
        environment = {**os.environ, "NEMORUN_HOME": str(self.folder / "home")}
        environment.pop("SLURM_CONF", None)
        command = [sys.executable, "-m", "d2plm_megatron", "launch", *words]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )


@pytest.fixture(scope="module")
def laptop(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    for program in ("ssh", "ssh-keygen", "rsync"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here: apt-get install openssh-client rsync")
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None:
        pytest.skip("no sshd here: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("laptop")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"folder": folder, "port": port, "bin": Path(sys.executable).parent, "checkout": Path(__file__).parents[2]}
    (folder / "sshd").write_text(SSHD.format(conf=slurm.conf, path=os.environ["PATH"], **values))
    (folder / "far.yaml").write_text(CLUSTER.format(**values))
    recipe = replace(TINY, name="far", train=replace(TINY.train, max_steps=2))
    (folder / "tiny.yaml").write_text(to_yaml(recipe))
    (folder / "mine.py").write_text(RECIPE)
    (folder / "beside.py").write_text(f'PATH = "{folder}/tiny.yaml"\n')
    write_proteins(folder / "proteins", short_lengths(200))
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen([sshd, "-D", "-f", folder / "sshd", "-E", folder / "sshd.log"])
    try:
        log = folder / "sshd.log"
        wait_until(lambda: log.exists() and "listening" in log.read_text(), "sshd")
        yield Laptop(folder)
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)
        subprocess.run(["ssh-keygen", "-R", f"[127.0.0.1]:{port}"], capture_output=True, check=False)


def test_a_recipe_of_the_laptop_is_trained_on_the_cluster_and_its_log_is_seen_here(laptop: Laptop) -> None:
    done = laptop.launch("mine.py", "--cluster=far.yaml", "--wait", f"data.train={laptop.folder}/proteins")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train | far: " in done.stdout and "train: completed" in done.stdout
    assert RunFolder(laptop.folder / "far/runs/far").latest()
    [shipped] = (laptop.folder / "far/experiments/far").glob("*/train/code/mine.py")
    assert shipped.with_name("beside.py").exists()


def test_what_cannot_be_reached_is_said_in_one_line(laptop: Laptop) -> None:
    there = (laptop.folder / "far.yaml").read_text()
    (laptop.folder / "stranger.yaml").write_text(there.replace("/user,", "/host,"))
    for cluster, words, said in (
        ("stranger.yaml", ["data.train=/d"], "ssh root@127.0.0.1: "),
        ("far.yaml", ["data.train=here"], "data.train=here: write the path from / on"),
        ("far.yaml", ["--partition=closed", "data.train=/d"], "partition closed: is down"),
    ):
        done = laptop.launch("mine.py", f"--cluster={cluster}", *words)
        [line] = done.stderr.splitlines()
        assert done.returncode == 2 and line.startswith("error: ") and said in line
