"""How this process was started, read from the environment of torchrun and of Slurm."""

from pathlib import Path

import pytest

from d2plm_megatron.config import Parallel
from d2plm_megatron.parallel.launched import adopt_slurm, check_layout, check_restart

STEP = {
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NODELIST": "localhost",
}


def adopted(**changed: str | None) -> dict[str, str]:
    environment = {name: value for name, value in (STEP | changed).items() if value is not None}
    adopt_slurm(environment)
    return environment


def test_numbers_of_the_step_get_the_names_of_torchrun() -> None:
    found = adopted()
    assert (found["RANK"], found["WORLD_SIZE"], found["LOCAL_RANK"]) == ("9", "16", "1")
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("localhost", "24567")


@pytest.mark.parametrize(
    "of_step", [{"SLURM_STEP_NUM_TASKS": None, "SLURM_NTASKS": "16"}, {"SLURM_STEP_NUM_TASKS": "1"}]
)
def test_batch_script_and_a_single_task_are_alone(of_step: dict[str, str | None]) -> None:
    assert "RANK" not in adopted(**of_step)


def test_torchrun_inside_a_step_keeps_its_own_numbers() -> None:
    assert adopted(RANK="3", WORLD_SIZE="4")["RANK"] == "3"


def test_what_the_user_says_of_the_meeting_place_holds() -> None:
    found = adopted(MASTER_ADDR="10.0.0.7", MASTER_PORT="29500")
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("10.0.0.7", "29500")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu7", "gpu7"),
        ("gpu[003-010,012]", "gpu003"),
        ("gpu[3,5]-ib.cluster", "gpu3-ib.cluster"),
        ("a1,b2", "a1"),
        ("login1,gpu[1-2]", "login1"),
    ],
)
def test_first_node_of_a_list(nodes: str, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("socket.gethostbyname", asked.append)
    assert adopted(SLURM_STEP_NODELIST=nodes)["MASTER_ADDR"] == first
    assert asked == [first]


def test_node_without_an_address_falls_back_to_where_srun_was_called() -> None:
    found = adopted(SLURM_STEP_NODELIST="no-such-host.invalid", SLURM_LAUNCH_NODE_IPADDR="10.1.2.3")
    assert found["MASTER_ADDR"] == "10.1.2.3"


def test_half_a_step_is_an_error_in_words() -> None:
    with pytest.raises(ValueError, match="SLURM_STEP_NUM_TASKS is set but SLURM_LOCALID is not"):
        adopted(SLURM_LOCALID=None)


def test_processes_that_cannot_be_grouped() -> None:
    assert check_layout(Parallel(tensor=2, pipeline=2), 8) == 2
    with pytest.raises(ValueError, match="needs a multiple of 4 processes, but there are 6"):
        check_layout(Parallel(tensor=2, pipeline=2), 6)


def test_job_started_again_without_its_folder_is_refused(tmp_path: Path) -> None:
    again, folder = {"SLURM_RESTART_COUNT": "1", "SLURM_JOB_ID": "7"}, tmp_path / "run"
    with pytest.raises(ValueError, match=f"{folder}: Slurm starts job 7 again, but the folder of its run is gone"):
        check_restart(folder, again)
    check_restart(folder, {"SLURM_RESTART_COUNT": "0"})
    check_restart(folder, {})
    folder.mkdir()
    check_restart(folder, again)
