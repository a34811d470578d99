"""Waiting for jobs ends, even if Slurm forgets one and accounting never heard of it."""

import pytest

from launchers import watch
from launchers.watch import Followed, until_ended


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 0)
    monkeypatch.setattr(watch, "MOST_POLLS_UNKNOWN", 3)


def slurm(answers: list[str]):
    """A cluster whose squeue gives these answers in turn, and then the last for ever; sacct is silent."""

    def run(line: str) -> str:
        if not line.startswith("squeue"):
            return ""
        return answers.pop(0) if len(answers) > 1 else answers[0]

    return run


def test_a_job_that_nobody_knows_any_more_is_named() -> None:
    task = Followed("train", "/logs/log-*", job="7")
    with pytest.raises(
        ValueError, match="train: neither squeue nor sacct knows job 7 any more, which was running when"
    ):
        until_ended([task], slurm(["7|RUNNING\n", ""]))


def test_a_silence_that_ends_is_waited_out() -> None:
    task = Followed("train", "/logs/log-*", job="7")
    until_ended([task], slurm(["7|RUNNING\n", "", "", "7|RUNNING\n", "", "", "7|COMPLETED\n", ""]))
    assert task.state == watch.SUCCEEDED
