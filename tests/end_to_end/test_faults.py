"""A run that is stopped, killed, or out of luck loses nothing, and says what happened."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from d2plm_megatron.parallel.preemption import SAVED_AND_STOPPED
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.metrics import read_metrics

ROOT = Path(__file__).parents[2]
SMALL = [
    *["model.num_layers=1", "model.hidden_size=32", "model.num_attention_heads=2", "model.ffn_hidden_size=64"],
    *["data.max_length_residues=60", "data.tokens_per_pack=64", "train.global_batch_tokens=128"],
    *["train.save_every_steps=20", "train.log_every_steps=20", "train.keep_last=2"],
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(write_proteins: Callable[..., Path], tmp_path: Path) -> Iterator[Start]:
    """Starts a small run: start("train.max_steps=9", launcher=TORCHRUN, VARIABLE="value")."""
    data, running = write_proteins([50] * 200), []

    def begin(*overrides: str, launcher: list[str] | None = None, **environment: str) -> "subprocess.Popen[str]":
        where = [f"data.train={data}", f"output={tmp_path}", "name=small"]
        process = subprocess.Popen(
            [*(launcher or [sys.executable]), "recipes/demo.py", *where, *SMALL, *overrides],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            for alive in (process, *psutil.Process(process.pid).children(recursive=True)):
                alive.kill()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "small")


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and output."""
    printed, _ = process.communicate(timeout=300)
    return process.returncode, printed


def wait_for(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < limit, "in vain"
        time.sleep(0.05)


def steps_logged(folder: RunFolder) -> list[int]:
    return [line["step"] for line in read_metrics(folder.metrics) if line["kind"] == "train"]


def has_come_to(folder: RunFolder, step: int) -> bool:
    return max(steps_logged(folder), default=0) >= step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("launcher", [None, [*TORCHRUN, "--signals-to-handle", "SIGINT,SIGTERM,SIGUSR1"]])
def test_signal_saves_and_ends_well(
    number: signal.Signals, launcher: list[str] | None, start: Start, folder: RunFolder
) -> None:
    process = start("train.max_steps=1000000", "train.save_every_steps=1000000", launcher=launcher)
    wait_for(lambda: steps_logged(folder))
    process.send_signal(number)
    code, printed = finish(process)
    assert (code == SAVED_AND_STOPPED) == (launcher is None) and code != 0, printed  # torchrun's is its own
    assert f"saved and stopped on {number.name} at step" in printed
    saved = Checkpoint.open(folder.path)
    saved.check_whole()
    assert saved.state["progress"]["step"] >= 20


def test_signal_at_the_start_waits_for_the_first_checkpoint(start: Start, folder: RunFolder) -> None:
    """Sent while torch is being imported, which takes seconds."""
    process = start("train.max_steps=1000000")
    wait_for(lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text())
    process.send_signal(signal.SIGTERM)
    code, printed = finish(process)
    assert code == SAVED_AND_STOPPED, printed
    assert f"saved and stopped on SIGTERM at step 1: {folder.path}" in printed


NUMBERS = {
    "torchrun's": {"RANK": "{rank}", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "{port}"},
    "Slurm's": {
        "SLURM_PROCID": "{rank}",
        "SLURM_LOCALID": "{rank}",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_JOB_ID": "{port}",
    },
}


def both(start: Start, numbers: dict[str, str], *overrides: str) -> list["subprocess.Popen[str]"]:
    """Two processes that meet by themselves, without torchrun to look after them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    values = [{name: value.format(rank=rank, port=port) for name, value in numbers.items()} for rank in range(2)]
    return [start("train.max_steps=1000000", *overrides, **environment) for environment in values]


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
def test_every_process_says_that_the_run_was_interrupted_and_saved(
    numbers: dict[str, str], start: Start, folder: RunFolder
) -> None:
    """A signal to one of them is enough; a launcher looks at the exit code of any."""
    processes = both(start, numbers, "train.save_every_steps=1000000")
    wait_for(lambda: steps_logged(folder))
    processes[1].send_signal(signal.SIGUSR1)
    ends = [finish(process) for process in processes]
    assert [code for code, _ in ends] == [SAVED_AND_STOPPED] * 2, ends
    assert "saved and stopped on SIGUSR1 at step" in ends[0][1]
    Checkpoint.open(folder.path).check_whole()


def test_folder_in_use_is_refused(start: Start, folder: RunFolder) -> None:
    first = start("train.max_steps=1000000")
    wait_for(lambda: steps_logged(folder))
    code, printed = finish(start())
    assert code == 2
    assert f"in use by process {first.pid} on {socket.gethostname()}; choose another name=" in printed


def test_damaged_checkpoint_is_named_and_the_one_before_taken(start: Start, folder: RunFolder) -> None:
    assert finish(start("train.max_steps=40", launcher=TORCHRUN))[0] == 0
    damaged = folder.latest()
    assert damaged is not None
    victim = next(damaged.glob("*.safetensors"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    code, printed = finish(start("train.max_steps=60", launcher=TORCHRUN))
    assert code == 0, printed
    assert f"step_00000040: damaged: {victim.name} has changed; trying the checkpoint before it" in printed
    assert "step_00000020 at step 20" in printed
    assert steps_logged(folder) == [20, 40, 60]
    Checkpoint.open(damaged).check_whole()  # it has been written anew


def test_dead_process_ends_the_others_with_a_reason(start: Start, folder: RunFolder) -> None:
    survivor, victim = both(start, NUMBERS["torchrun's"])
    wait_for(lambda: steps_logged(folder))
    victim.kill()
    code, printed = finish(survivor)
    assert code == 2
    assert "process 0: another process has ended, or did not answer within 600 s" in printed
    assert "Traceback" not in printed


def test_torchrun_starts_a_killed_run_again(start: Start, folder: RunFolder) -> None:
    process = start("train.max_steps=600", launcher=[*TORCHRUN, "--max-restarts", "1"])
    wait_for(lambda: folder.latest() is not None)
    worker = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()[0]
    os.kill(int(worker), signal.SIGKILL)
    code, printed = finish(process)
    assert code == 0, printed
    assert "continuing from" in printed
    assert steps_logged(folder) == [*range(20, 601, 20)]


def test_full_disk_leaves_the_last_checkpoint_whole(start: Start, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        code, printed = finish(start("train.max_steps=100", "train.keep_last=9", f"output={disk}"))
        assert code == 2
        whole = RunFolder(disk / "small").latest()
        assert whole is not None
        assert "no space left on the device: the checkpoint of step" in printed, printed
        assert f"was not written; the last whole one is {whole.name}" in printed, printed
        assert "Traceback" not in printed
        Checkpoint.open(whole).check_whole()
        assert not list(whole.parent.glob(".*incomplete"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_tracker_whose_server_never_answers_does_not_stop_the_run(start: Start, folder: RunFolder) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:  # connections are taken, and that is all
        nowhere = {"WANDB_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "WANDB_API_KEY": "0" * 40}
        code, printed = finish(start("train.max_steps=40", "track.wandb=true", "track.offline=false", **nowhere))
    assert code == 0, printed
    assert "Weights & Biases failed" in printed
    assert steps_logged(folder) == [20, 40]
    assert not [path for path in folder.path.rglob("*") if path.is_file() and b"0" * 40 in path.read_bytes()]


def test_full_disk_of_the_trackers_does_not_stop_the_run(start: Start, folder: RunFolder) -> None:
    disks = [folder.path / name for name in ("wandb", "tensorboard")]
    for disk in disks:
        disk.mkdir(parents=True)
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)], capture_output=True
        ).returncode:
            pytest.skip("needs the right to mount a tmpfs")
    try:
        code, printed = finish(start("train.max_steps=200", "track.wandb=true", "track.tensorboard=true"))
        assert code == 0, printed
        assert "No space left on device); the run goes on without it, metrics.jsonl has everything" in printed, printed
        assert steps_logged(folder) == list(range(20, 201, 20))
    finally:
        for disk in disks:
            subprocess.run(["umount", str(disk)], check=False)


def test_offline_tracking_is_written(start: Start, folder: RunFolder) -> None:
    code, printed = finish(start("train.max_steps=40", "track.wandb=true"))
    assert code == 0, printed
    [written] = folder.path.glob("wandb/offline-run-*/*.wandb")
    assert written.stat().st_size > 1000


def test_memory_does_not_grow_over_2000_steps(start: Start, folder: RunFolder) -> None:
    process = start("train.max_steps=1000000", "train.save_every_steps=200")
    sizes = {}
    for step in (600, 2600):
        wait_for(partial(has_come_to, folder, step))
        sizes[step] = psutil.Process(process.pid).memory_info().rss
    process.terminate()
    assert finish(process)[0] == SAVED_AND_STOPPED
    assert sizes[2600] < sizes[600] + 20e6
