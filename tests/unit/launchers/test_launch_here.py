"""Tasks on this machine, through nemo_run itself: what fails, what comes after it, and Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

DRIVER = """\
import sys
from launchers.cluster import Cluster
from launchers.experiment import submit
from launchers.tasks import Resources, Task

def task(name, program, *after):
    return Task(name=name, command=("python", "-c", program), resources=Resources(), after=after)

TASKS = {
    "fails": [
        task("good", "print('all well')"),
        task("bad", "print('about to fail'); raise SystemExit(3)", "good"),
        task("next", "open('began', 'w')", "bad"),
    ],
    "waits": [
        task("saves", '''
import signal, sys, time
def save(*_): raise SystemExit(75)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(100)
'''),
    ],
}
raise SystemExit(submit("here", TASKS[sys.argv[1]], Cluster()))
"""


def start(what: str, folder: Path) -> "subprocess.Popen[str]":
    (folder / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "NEMORUN_HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(
        [sys.executable, "driver.py", what],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_what_fails_is_named_with_its_log_and_what_comes_after_it_does_not_begin(tmp_path: Path) -> None:
    process = start("fails", tmp_path)
    said, errors = process.communicate(timeout=100)
    assert process.returncode == 1, errors
    assert errors == "", "nemo_run's own words are kept from users"
    assert "good | all well\n" in said
    assert "bad: exit code 3; the end of its log:\nabout to fail\n" in said
    assert "next | not run: bad did not succeed\n" in said
    assert not (tmp_path / "began").exists()


def test_ctrl_c_lets_tasks_save_and_ends_with_their_code(tmp_path: Path) -> None:
    process = start("waits", tmp_path)
    end = time.monotonic() + 100
    while not any(path.read_text() for path in tmp_path.glob("experiments/here/*/saves/nemo_run/*/*/*/stdout.log")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 75
