"""Cluster files: what they say, and what is refused, with the file and the key."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from launchers.cluster import SHIPPED, Cluster, SshTunnel, find, read
from launchers.tasks import Resources


def cluster_of(folder: Path, text: str) -> Cluster:
    path = folder / "mine.yaml"
    path.write_text(text)
    return read(path)


def test_every_key_is_read_as_what_it_is(tmp_path: Path) -> None:
    values = {
        "executor": "slurm",
        "account": "lab",
        "partition": "gpu",
        "cpu_partition": "cpu",
        "job_name_prefix": "me.",
        "job_dir": "/shared/job",
        "ssh_tunnel": {"host": "login", "user": "me", "job_dir": "/far", "identity": "~/.ssh/id", "port": 2222},
        "containers": {"default": "/a.sqsh", "prepare": "/b.sqsh"},
        "mounts": ["/data:/data", "/x:/y:ro"],
        "timeouts": {"gpu": "12:30:00"},
        "env_vars": ["NCCL_DEBUG=INFO", "WANDB_API_KEY"],
        "required_env_vars": ["HF_TOKEN"],
        "gpus_per_node": 8,
        "processes_per_node": 4,
        "gpu_memory": 80,
        "signal": "USR1@300",
        "setup": "module load cuda\nsource venv/bin/activate",
        "retries": 2,
        "sbatch": {"qos": "high", "exclusive": "NO"},
        "srun_args": ["--mpi=pmix"],
        "skypilot": {"infra": "aws"},
    }
    assert {"name", *values} == {item.name for item in dataclasses.fields(Cluster)}
    cluster = cluster_of(tmp_path, yaml.safe_dump(values))
    for key, value in values.items():
        wanted = SshTunnel(**value) if key == "ssh_tunnel" else tuple(value) if isinstance(value, list) else value
        assert getattr(cluster, key) == wanted, key


def test_a_time_is_no_number_and_no_is_no_false(tmp_path: Path) -> None:
    cluster = cluster_of(
        tmp_path, "executor: slurm\ntimeouts: {main: 12:30:00}\nsbatch: {exclusive: no}\naccount: null\n"
    )
    assert cluster.timeouts == {"main": "12:30:00"}
    assert cluster.sbatch == {"exclusive": "no"}
    assert cluster.account is None


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_those_that_come_with_the_package_are_found_by_name_and_read(path: Path) -> None:
    assert read(find(path.stem)).name == path.stem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu_per_node: 8", "gpu_per_node: no such key; did you mean gpus_per_node?"),
        ("time: 4:00:00", "time: no such key"),
        ("executor: slrum", "executor=slrum: allowed are local, slurm, docker, skypilot; did you mean slurm?"),
        ("gpus_per_node: many", "gpus_per_node=many: must be a whole number"),
        ("gpus_per_node: [8]", "gpus_per_node: must be one value, not several"),
        ("gpus_per_node: -1", "gpus_per_node=-1: must be at least 0"),
        ("mounts: /data:/data", "mounts: must be a list, as in [a, b]"),
        ("mounts: [data]", "mounts: data: write FROM:TO, two absolute paths"),
        ("ssh_tunnel: {host: a, user: b}", "ssh_tunnel.job_dir: is missing"),
        ("ssh_tunnel: {host: a, users: b}", "ssh_tunnel.users: no such key; did you mean user?"),
        ("job_dir: shared", "job_dir=shared: must be an absolute path"),
        ("env_vars: [WANDB_API_KEY=abc]", "env_vars: WANDB_API_KEY: is a secret"),
        ("env_vars: [my_password=abc]", "env_vars: my_password: is a secret"),
        ("required_env_vars: [A=b]", "required_env_vars: A: write NAME"),
        ("signal: B:USR1@120", "signal=B:USR1@120: write it as USR1@120"),
        ("executor: docker", "containers: is missing"),
        ("a: [", "line 1: is no YAML"),
        ("just words", "write key: value"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_file_and_the_key(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        cluster_of(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'mine.yaml'}") and said in str(error.value)
    assert "abc" not in str(error.value), "a secret is not repeated"


@pytest.mark.parametrize(("name", "said"), [("slurn", "did you mean slurm?"), ("x.yaml", "no such file")])
def test_a_cluster_that_is_not_there_is_told(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        find(name)


def test_a_task_without_gpus_goes_where_those_go() -> None:
    cluster = Cluster(executor="slurm", partition="gpu", cpu_partition="cpu")
    assert cluster.partition_of(Resources()) == "cpu"
    assert cluster.partition_of(Resources(gpus_per_node=1)) == "gpu"
    assert cluster.partition_of(Resources(partition="mine")) == "mine"
