"""A cluster: all that differs from cluster to cluster, and nothing that differs from run to run. Read from YAML.

The keys are named as in the cluster files of NeMo-Skills; docs/clusters.md explains each.
"""

import dataclasses
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from d2plm_megatron.config.checks import nearest, one_of

from .tasks import Resources

SHIPPED = Path(__file__).parent / "clusters"
EXECUTORS = ("local", "slurm", "docker", "skypilot")
LAUNCHERS = ("srun", "torchrun")
LARGEST_FILE_BYTES = 1 << 20

_NOTHING = ("", "null", "~")
_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*")
_MOUNT = re.compile(r"/[^:,]*:/[^:,]*(:\w+)?")


@dataclass(frozen=True, kw_only=True)
class SshTunnel:
    """How to reach the login node of a cluster from elsewhere.

    Attributes:
        host: name or address of the login node.
        user: there.
        job_dir: folder there, seen by all nodes, for the experiments, the data and the runs.
        identity: file of the private key; None for those that ssh takes by itself.
        port: of sshd; None for its usual one.
    """

    host: str
    user: str
    job_dir: str
    identity: str | None = None
    port: int | None = None

    @property
    def key(self) -> str | None:
        """The file of the private key, by its whole path."""
        return str(Path(self.identity).expanduser()) if self.identity else None


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where and how tasks run. Refuses, naming the key, what no cluster could mean.

    Attributes:
        name: of its file, for messages.
        executor: local, slurm, docker or skypilot.
        account, partition: of Slurm's jobs; --account and --partition of a launch come first.
        cpu_partition: for tasks that need no GPU; None for the same partition.
        job_name_prefix: what the names of its jobs begin with.
        job_dir: folder seen by all nodes for experiments, data and runs; None for nemo_run's and the working one.
        ssh_tunnel: how to reach the login node; None where the launcher runs on it.
        containers: image by task (prepare, train, evaluate, generate), or `default` for the others.
        mounts: FROM:TO of folders that a container sees.
        timeouts: time limit by partition, where --time gives none.
        env_vars: NAME=value to set, or NAME alone to hand on the value of the launcher's own environment.
        required_env_vars: names to hand on that must be set.
        gpus_per_node: of a node, where --gpus-per-node gives none; None for all that this machine has, and on
            clusters for none.
        processes_per_node: of a training; None for one for each GPU.
        gpu_memory: GiB of a GPU, which checks what is launched; None where that is not known.
        signal: what Slurm sends to the processes, and how many seconds before it takes the node away.
        setup: lines of bash before a task, such as a venv's activate.
        retries: how often a job is started again after a crash; what was interrupted and saved always is.
        sbatch: further options of sbatch, as in {qos: high}.
        srun_args: further options of srun.
        skypilot: further fields of nemo_run's SkypilotExecutor, as in {infra: aws, gpus: H100}.
    """

    name: str = "cluster"
    executor: str = "local"
    account: str | None = None
    partition: str | None = None
    cpu_partition: str | None = None
    job_name_prefix: str = "d2plm."
    job_dir: str | None = None
    ssh_tunnel: SshTunnel | None = None
    containers: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    timeouts: Mapping[str, str] = field(default_factory=dict)
    env_vars: tuple[str, ...] = ()
    required_env_vars: tuple[str, ...] = ()
    gpus_per_node: int | None = None
    processes_per_node: int | None = None
    gpu_memory: int | None = None
    signal: str = "USR1@120"
    setup: str = ""
    retries: int = 0
    sbatch: Mapping[str, str] = field(default_factory=dict)
    srun_args: tuple[str, ...] = ()
    skypilot: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("executor", self.executor, EXECUTORS)
        for key in ("env_vars", "required_env_vars"):
            for variable in getattr(self, key):
                _check_variable(key, variable)
        for mount in self.mounts:
            if not _MOUNT.fullmatch(mount):
                raise ValueError(f"mounts: {mount}: write FROM:TO, two absolute paths")
        if not re.fullmatch(r"[A-Z0-9]+(@\d{1,5})?", self.signal):
            raise ValueError(
                f"signal={self.signal}: write it as USR1@120, without B:, or the processes would not get it"
            )
        if self.executor == "docker" and not self.containers:
            raise ValueError(
                "containers: is missing; executor docker needs an image, as in containers: {default: IMAGE}"
            )
        for key in ("gpus_per_node", "retries"):
            if (getattr(self, key) or 0) < 0:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 0")
        if self.folder and not self.folder.startswith("/"):
            raise ValueError(f"job_dir={self.folder}: must be an absolute path")

    @property
    def folder(self) -> str | None:
        """Folder for experiments, data and runs, as the cluster's nodes see it; None where none was named."""
        return self.ssh_tunnel.job_dir if self.ssh_tunnel else self.job_dir

    def partition_of(self, needs: Resources) -> str | None:
        """Where a task runs that needs this; None for Slurm's default."""
        return needs.partition or (not needs.gpus_per_node and self.cpu_partition) or self.partition

    def image(self, task: str) -> str | None:
        """The container image of a task; None where it runs without one."""
        return self.containers.get(task, self.containers.get("default"))


def find(name: str) -> Path:
    """The file of a cluster: a path that ends in .yaml or .yml, or the name of one that comes with the package.

    Raises ValueError, with the nearest name, where there is no such file.
    """
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise ValueError(f"--cluster {name}: no such file")
    if name in shipped:
        return shipped[name]
    near = nearest(name, shipped)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(shipped)}, or give the path of a .yaml"
    raise ValueError(f"--cluster {name}: no such cluster; {hint}")


def read(path: Path) -> Cluster:
    """The cluster of a YAML file. Raises ValueError, with the file and the key, for what cannot be meant."""
    text = path.read_bytes()[:LARGEST_FILE_BYTES].decode("utf-8", errors="replace")
    try:
        raw = yaml.load(text, yaml.BaseLoader)  # every scalar as its text: 12:30:00 is no number, and NO is no false
        if not isinstance(raw, dict):
            raise ValueError("write key: value, beginning with executor: local or executor: slurm")
        return _built(Cluster, {"name": path.stem} | raw, "")
    except yaml.YAMLError as error:
        line = getattr(error, "problem_mark", None)
        where = f", line {line.line + 1}" if line else ""
        raise ValueError(f"{path}{where}: is no YAML ({getattr(error, 'problem', None) or error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _built(kind: type[Any], raw: Mapping[Any, Any], prefix: str) -> Any:
    """A dataclass from the texts of a YAML mapping, each turned into what its field is declared as."""
    fields, hints = {item.name: item for item in dataclasses.fields(kind)}, typing.get_type_hints(kind)
    for key in raw:
        if key not in fields:
            raise ValueError(_unknown(f"{prefix}{key}", nearest(str(key), fields), fields))
    values = {key: _value(f"{prefix}{key}", value, hints[key]) for key, value in raw.items()}
    required = [name for name, item in fields.items() if _is_required(item) and values.get(name) is None]
    if required:
        raise ValueError(f"{prefix}{required[0]}: is missing")
    return kind(**{key: value for key, value in values.items() if value is not None})


def _unknown(key: str, near: str | None, fields: Iterable[str]) -> str:
    hint = f"did you mean {near}?" if near else f"there are {', '.join(name for name in fields if name != 'name')}"
    return f"{key}: no such key; {hint} (what belongs to a run is given to d2plm launch)"


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _value(key: str, raw: Any, hint: Any) -> Any:
    """A value from its YAML; None for nothing. Raises ValueError, naming the key, for one of the wrong kind."""
    if isinstance(raw, str) and raw in _NOTHING:
        return None
    kinds = [kind for kind in (typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)) if kind]
    kind = kinds[0]
    if dataclasses.is_dataclass(kind):
        return _built(typing.cast(type, kind), _of_kind(key, raw, dict, "keys with values"), f"{key}.")
    if typing.get_origin(kind) is tuple:
        return tuple(_text(key, item) for item in _of_kind(key, raw, list, "a list, as in [a, b]"))
    if typing.get_origin(kind) is Mapping:
        return {
            name: _text(f"{key}.{name}", item) for name, item in _of_kind(key, raw, dict, "keys with values").items()
        }
    text = _text(key, raw)
    if kind is int and not re.fullmatch(r"-?\d{1,9}", text):
        raise ValueError(f"{key}={text}: must be a whole number")
    return int(text) if kind is int else text


def _of_kind(key: str, raw: Any, kind: type[Any], words: str) -> Any:
    if not isinstance(raw, kind):
        raise ValueError(f"{key}: must be {words}")
    return raw


def _text(key: str, raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{key}: must be one value, not several")
    return raw


def _check_variable(key: str, variable: str) -> None:
    name, sign, value = variable.partition("=")
    if not _NAME.fullmatch(name) or (sign and key == "required_env_vars"):
        what = "NAME" if key == "required_env_vars" else "NAME=value, or NAME alone to hand it on"
        raise ValueError(f"{key}: {name if sign else variable}: write {what}")
    if value and _SECRET.search(name):
        raise ValueError(f"{key}: {name}: is a secret; write its name alone, and it is handed on from your environment")
