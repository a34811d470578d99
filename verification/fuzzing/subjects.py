"""Valid things to damage, small: proteins in every form, and a run with two checkpoints that was evaluated."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from benchmarks.random_proteins import write_proteins
from d2plm_megatron import console
from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.commandline.main import train
from d2plm_megatron.config import Data, Model, Optimizer, Recipe, Train, Validation
from d2plm_megatron.runs import tensor_index as index
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder

LETTERS = "LAGVSERTIDPKQNFYMHWC"
NUM_PROTEINS = 40
RUN, DATA, FACTS = "run", "data/proteins", "facts.json"


def recipe_in(folder: Path) -> Recipe:
    """The recipe of the run in a folder, with the data there."""
    proteins = str(folder / DATA)
    return Recipe(
        name=RUN,
        output=str(folder),
        model=Model(num_layers=1, hidden_size=8, num_attention_heads=2, ffn_hidden_size=8),
        optimizer=Optimizer(lr=1e-2, warmup_steps=0),
        data=Data(train=proteins, validation=proteins, max_length_residues=60, tokens_per_pack=64),
        train=Train(
            max_steps=4,
            global_batch_tokens=128,
            precision="fp32",
            save_every_steps=2,
            log_every_steps=1,
            smoke_pack_tokens=None,
            async_save=False,
        ),
        validation=Validation(every_steps=4, max_proteins=8, min_delta=0.0),  # so that the last is the best
    )


def run_with_checkpoints(folder: Path) -> None:
    """A run with checkpoints of steps 2 and 4, its data, and the facts of both in a file."""
    write_data(folder)
    train(recipe_in(folder))
    run = RunFolder(folder / RUN)
    facts = {path.name: facts_of(Checkpoint.open(path)) for path in run.newest_first()}
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def write_data(folder: Path) -> None:
    """Indexed proteins in DATA."""
    (folder / DATA).parent.mkdir()
    write_proteins(folder / DATA, [Random(number).randrange(5, 60) for number in range(NUM_PROTEINS)])


def facts_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint says, for JSON: its progress, and of each group of tensors a checksum."""
    groups = index.read(checkpoint.path)
    return {
        "progress": checkpoint.state["progress"],
        **{group: digest(tensors.load_whole(checkpoint.path, group)) for group in sorted(groups)},
    }


def digest(values: dict[str, Tensor]) -> str:
    """A checksum of tensors with names."""
    found = blake2b(digest_size=16)
    for name, tensor in sorted(values.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def proteins(seed: int = 0, number: int = NUM_PROTEINS) -> list[tuple[str, str]]:
    """(id, sequence) of random proteins."""
    chance = Random(seed)
    return [(f"p{place}", "".join(chance.choices(LETTERS, k=chance.randrange(3, 90)))) for place in range(number)]


def command(main: Callable[..., Any], *arguments: object) -> None:
    """Runs a command as from the command line. Raises SystemExit when it does not end well."""
    sys.argv = ["command", *map(str, arguments)]
    with ends_well():
        console.run(main)


@contextmanager
def ends_well() -> Iterator[None]:
    """Lets a command end its process with exit code 0, and goes on."""
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise
