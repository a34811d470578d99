"""What is asked for, as tasks: prepare, train, evaluate and generate, with the paths that the cluster sees."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import resolve
from d2plm_megatron.config.recipe_files import build, find, load
from d2plm_megatron.runs.beginning import begun

from . import tasks
from .cluster import Cluster
from .tasks import Resources, Task

DATA_KEYS = ("data.train", "data.clusters", "data.validation")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be done.

    Attributes:
        recipe: its name, or its file.
        overrides: of the recipe.
        resources: of its training.
        prepare: file of raw proteins to prepare first, and train on; None for data that are there.
        evaluate, generate: whether that is done with what was trained.
    """

    recipe: str
    overrides: Sequence[str]
    resources: Resources
    prepare: str | None = None
    evaluate: bool = False
    generate: bool = False

    def resolved(self) -> Recipe:
        """The recipe with its overrides. Raises ValueError for what cannot work."""
        return resolve(build(load(find(self.recipe))), self.overrides)


def named(request: Request, cluster: Cluster) -> Request:
    """The request under the whole name that its run has, or gets now: that of all its tasks, however often they start.

    Of runs on a cluster that is reached by ssh nothing is seen from here; they get a new name.
    """
    recipe = request.resolved()
    smoke = "-smoke" if _is_smoke_run(request, recipe, cluster) else ""
    output = str(Path(base_of(cluster), recipe.output))
    name = begun(replace(recipe, name=recipe.name + smoke, output=output)).name.removesuffix(smoke)
    return replace(request, overrides=[*request.overrides, f"name={name}"])


def plan(request: Request, cluster: Cluster) -> list[Task]:
    """The tasks, each after those that it needs. Raises ValueError for what is missing, or cannot be seen there."""
    recipe, base = request.resolved(), base_of(cluster)
    train_on, before = _data(request, recipe, cluster, base), []
    if request.prepare and not _is_prepared(request.prepare, _prepared(request.prepare, base), cluster):
        one = replace(request.resources, nodes=1, gpus_per_node=0, processes_per_node=1)
        before = [tasks.prepare([_seen(request.prepare, "--prepare", cluster)], _prepared(request.prepare, base), one)]
    given = [text for text in request.overrides if text.partition("=")[0] not in (*train_on, "output", "name")]
    output = recipe.output if recipe.output.startswith("/") else f"{base}/{recipe.output}"
    changes = [
        *given,
        *(f"{key}={value}" for key, value in train_on.items()),
        f"output={output}",
        f"name={recipe.name}",
    ]
    named, ships = _recipe(request.recipe, cluster)
    train = tasks.train(named, changes, request.resources, after=[task.name for task in before], ships=ships)
    run = f"{output}/{recipe.name}{'-smoke' if _is_smoke_run(request, recipe, cluster) else ''}"
    return [*before, train, *_afterwards(request, recipe, run, train_on.get("data.validation"))]


def _prepared(proteins: str, base: str) -> str:
    """Folder of the data sets that --prepare makes."""
    return f"{base}/data/{Path(proteins).name.partition('.')[0]}"


def _is_prepared(proteins: str, folder: str, cluster: Cluster) -> bool:
    """Whether an earlier launch has prepared these proteins, as far as that is seen from here.

    Raises ValueError where the folder holds what was made of other proteins.
    """
    manifest, source = Path(folder, "manifest.json"), Path(proteins).expanduser().absolute()
    if cluster.ssh_tunnel or not manifest.is_file() or not source.is_file():
        return False
    try:
        made_of = [(one["path"], one["bytes"]) for one in json.loads(manifest.read_text())["inputs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{manifest}: is damaged; remove {folder}, and it is prepared again") from error
    if made_of != [(str(source), source.stat().st_size)]:
        raise ValueError(
            f"--prepare {proteins}: {folder} holds data of other proteins; remove it, or give data.train={folder}/train"
        )
    return True


def _afterwards(request: Request, recipe: Recipe, run: str, validation: str | None) -> list[Task]:
    """What is done with the trained model, in the layout that its training had, on as few nodes as hold it."""
    parallel, on = recipe.parallel, request.resources
    size = parallel.tensor * parallel.pipeline
    on_each = min(size, on.processes_per_node)
    few = replace(
        on, nodes=-(-size // on_each), processes_per_node=on_each, gpus_per_node=min(on.gpus_per_node, on_each)
    )
    layout = [
        f"--{name}={number}" for name, number in vars(parallel).items() if name in ("tensor", "pipeline") and number > 1
    ]
    done: list[Task] = []
    if request.evaluate:
        if validation is None:
            raise ValueError("--evaluate: needs data.validation=PREFIX, the proteins that are held out")
        done.append(tasks.evaluate(run, validation, few, layout, after=["train"]))
    if request.generate:
        done.append(tasks.generate(run, few, layout, after=[done[-1].name if done else "train"]))
    return done


def _data(request: Request, recipe: Recipe, cluster: Cluster, base: str) -> Mapping[str, str]:
    """The keys of the data, and of weights to begin with, by paths that do not depend on a folder."""
    found = {}
    if request.prepare:
        folder = _prepared(request.prepare, base)
        found = {"data.train": f"{folder}/train", "data.validation": f"{folder}/validation"}
    elif recipe.data.train is None:
        raise ValueError("data.train: give the prefix of the training data, or --prepare with a file of proteins")
    else:
        found["data.train"] = _corpora(recipe, cluster)
        if recipe.data.clusters is not None:
            files = (_seen(file, "data.clusters", cluster) for file in recipe.data.clusters.split())
            found["data.clusters"] = " ".join(files)
        if recipe.data.validation is not None:
            found["data.validation"] = _seen(recipe.data.validation, "data.validation", cluster)
    if recipe.train.init_from is not None:
        found["train.init_from"] = _seen(recipe.train.init_from, "train.init_from", cluster)
    return found


def _corpora(recipe: Recipe, cluster: Cluster) -> str:
    sources = [(_seen(source.prefix, "data.train", cluster), source.share) for source in recipe.data.sources]
    return sources[0][0] if len(sources) == 1 else " ".join(f"{prefix}:{share}" for prefix, share in sources)


def _seen(path: str, key: str, cluster: Cluster) -> str:
    """A path as the nodes see it, from the root. Raises ValueError for one that can mean nothing to them."""
    path = str(Path(path).expanduser())
    if cluster.ssh_tunnel and not path.startswith("/"):
        raise ValueError(f"{key}={path}: write the path from / on, as {cluster.ssh_tunnel.host} sees it")
    return str(Path(path).absolute())


def base_of(cluster: Cluster) -> str:
    """The folder from which the paths of what is written are seen."""
    return cluster.folder or str(Path.cwd())


def _recipe(name: str, cluster: Cluster) -> tuple[str, str | None]:
    """(the recipe as the task names it, its file where that has to travel with the task)."""
    if not name.endswith(".py"):
        return name, None
    path = Path(name).absolute()
    travels = cluster.executor != "local" and (cluster.ssh_tunnel is not None or cluster.image("train") is not None)
    return (path.name, str(path)) if travels else (str(path), None)


def _is_smoke_run(request: Request, recipe: Recipe, cluster: Cluster) -> bool:
    """Whether training will find no GPU; Slurm may give whole nodes, and not know what is in them."""
    has_gpus = request.resources.gpus_per_node > 0 or (cluster.executor == "slurm" and cluster.gpu_memory is not None)
    return not has_gpus and recipe.train.smoke_pack_tokens is not None
