"""The cluster that the other tests of this folder rely on."""

import subprocess

import pytest

from tests.slurm.jobs import Slurm


def test_a_job_of_two_nodes_is_accounted_for(slurm: Slurm) -> None:
    job = slurm.sbatch(
        "--wait", "--nodes=2", f"--output={slurm.folder}/two.log", "--wrap", "srun printenv SLURM_NODEID"
    )
    assert (slurm.folder / "two.log").read_text().split() in (["0", "1"], ["1", "0"])
    assert slurm.ended(job) == ["COMPLETED"]


@pytest.mark.parametrize(
    ("option", "said"),
    [("--account=none", "invalid account"), ("--partition=none", "invalid partition")],
)
def test_what_cannot_be_is_refused_as_on_clusters(slurm: Slurm, option: str, said: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        slurm.sbatch(option, "--wrap", "true")
    assert said in refused.value.stderr.casefold()
