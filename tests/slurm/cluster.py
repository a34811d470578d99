"""A real Slurm on this machine: two nodes, accounting, and a partition that pre-empts another. Loopback only.

    python -m tests.slurm.cluster FOLDER    holds one up until Ctrl-C; then `export SLURM_CONF=FOLDER/slurm.conf`

All that it writes lies in its folder, its ports are free ones and it has a munged and a database of its own, so that
several can be up at once.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil

from tests.slurm.configuration import SLURM, SLURMDBD
from tests.slurm.jobs import Slurm

PROGRAMS = ("munged", "mungekey", "mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "slurmctld", "slurmd")
PACKAGES = "slurm-wlm slurmdbd munge mariadb-server"
"""Debian's and Ubuntu's, which hold the programs."""
PATIENCE = 60.0
"""Seconds that a daemon has to answer."""


def why_not() -> str | None:
    """Why no Slurm can be brought up here, and what to do; None where it can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"no {missing[0]} here: apt-get install {PACKAGES}"
    if os.geteuid() != 0:
        return "slurmd starts jobs as their user, which takes root: run these tests as root, or in a container"
    return None


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Brings up a cluster whose state lies in the folder, and takes it down, jobs first."""
    folder = folder.resolve()
    (folder / "state").mkdir(parents=True)
    configure(folder)
    cluster = Slurm(folder)
    with ExitStack() as stack:

        def start(*command: str) -> None:
            stack.enter_context(daemon(cluster, *command))

        start_accounting(cluster, start)
        start("slurmctld", "-D", "-i")
        start("slurmd", "-D", "-N", "n1")
        start("slurmd", "-D", "-N", "n2")
        stack.callback(end_jobs, cluster)
        wait_until(lambda: cluster.run("sinfo", "--noheader", "--format=%D %t").startswith("2 idle"), folder)
        yield cluster


def configure(folder: Path) -> None:
    """Writes the configuration, with ports that are free now, the key of munge, and the files of the database."""
    controller, accounting, database, first, second = free_ports(5)
    values = {"folder": folder, "host": socket.gethostname(), "socket": folder / "munge.socket"}
    ports = {"controller": controller, "accounting": accounting, "database": database, "first": first, "second": second}
    (folder / "slurm.conf").write_text(SLURM.format(**values, **ports))
    slurmdbd = folder / "slurmdbd.conf"
    slurmdbd.touch(mode=0o600)
    slurmdbd.write_text(SLURMDBD.format(**values, **ports))
    (folder / "my.cnf").write_text(
        f"[mariadbd]\nuser=root\ndatadir={folder / 'db'}\nsocket={folder / 'db.socket'}\nbind-address=127.0.0.1\n"
        f"port={database}\ninnodb-log-file-size=8M\ninnodb-buffer-pool-size=64M\ninnodb-lock-wait-timeout=900\n"
        "innodb-flush-log-at-trx-commit=0\nskip-name-resolve\n"
    )
    subprocess.run(["mungekey", "--create", f"--keyfile={folder / 'munge.key'}"], check=True)
    install = ["mariadb-install-db", f"--defaults-file={folder / 'my.cnf'}", "--auth-root-authentication-method=normal"]
    with (folder / "mariadb-install-db.log").open("w") as log:
        subprocess.run([*install, "--skip-test-db"], check=True, stdout=log, stderr=log)


def start_accounting(cluster: Slurm, start: Callable[..., None]) -> None:
    """Brings up what signs messages, the database and its daemon, with an account `d2plm` that root belongs to."""
    folder = cluster.folder
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    start("munged", "--foreground", "--force", *(f"--{key}={folder / 'munge'}.{end}" for key, end in files.items()))
    start("mariadbd", f"--defaults-file={folder / 'my.cnf'}")
    grant = "create user slurm@'127.0.0.1' identified by 'slurm'; grant all on slurm_acct_db.* to slurm@'127.0.0.1'"
    wait_until(lambda: cluster.run("mariadb", "--no-defaults", f"--socket={folder / 'db.socket'}", "-e", grant), folder)
    start("slurmdbd", "-D")
    wait_until(lambda: cluster.run("sacctmgr", "--immediate", "add", "cluster", "d2plm"), folder)
    cluster.run("sacctmgr", "--immediate", "add", "account", "d2plm", "cluster=d2plm")
    cluster.run("sacctmgr", "--immediate", "add", "user", "root", "account=d2plm", "defaultaccount=d2plm")


@contextmanager
def daemon(cluster: Slurm, *command: str) -> Iterator[None]:
    """Runs a daemon in the foreground of its own session, which ends with this process even if that is killed."""
    name = "-".join([command[0], *command[3:4]]) if command[0] == "slurmd" else command[0]
    with (cluster.folder / f"{name}.log").open("w") as log:
        with_me = ["setpriv", "--pdeathsig", "TERM", *command]
        process = subprocess.Popen(
            with_me, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=cluster.environment, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_jobs(cluster: Slurm) -> None:
    """Cancels all jobs, and kills what of them is left after a while."""
    with suppress(subprocess.CalledProcessError):
        cluster.run("scancel", "--full", "--signal=KILL", "--user=root")
        cluster.run("scancel", "--user=root")
    left = job_processes(cluster)
    psutil.wait_procs(left, timeout=5)
    for process in job_processes(cluster):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def job_processes(cluster: Slurm) -> list[psutil.Process]:
    """The processes of this cluster's jobs, known by their environment."""

    def is_of_a_job(process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            environment = process.environ()
            return environment.get("SLURM_CONF") == str(cluster.conf) and "SLURM_JOB_ID" in environment
        return False

    return [process for process in psutil.process_iter() if is_of_a_job(process)]


def free_ports(number: int) -> list[int]:
    """Different ports that nobody listens to."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until(works: Callable[[], object], folder: Path) -> None:
    """Until it no longer fails and is true. Raises TimeoutError, which says where the logs lie."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(subprocess.CalledProcessError):
            if works() is not False:
                return
        time.sleep(0.1)
    raise TimeoutError(f"no Slurm within {PATIENCE:.0f} seconds: see the logs in {folder}")


def main() -> None:
    """Holds a cluster up in the folder of the command line."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if reason := why_not():
        sys.exit(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with slurm(Path(sys.argv[1])) as cluster, suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={cluster.conf}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
