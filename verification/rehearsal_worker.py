"""Run by torchrun: takes the steps of a rehearsal with real tensors and processes, and writes what is counted."""

import json
import multiprocessing
import os
import sys
from dataclasses import asdict
from itertools import product
from pathlib import Path

from d2plm_megatron.parallel.megatron.watched import Watched
from d2plm_megatron.parallel.processes import model_parallel, process_group
from d2plm_megatron.rehearsal.ledger import Ledger
from d2plm_megatron.rehearsal.rank import take_steps
from d2plm_megatron.training.engine import Engine
from verification.rehearsal import LENGTH, TIMES, file_of, recipe_of


def witness(number: int, name: str, time: int, folder: Path) -> None:
    """In a forked process: joins its fellows, takes the steps and writes what was counted into a folder."""
    os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)  # as if started again: apart from those before, in the store
    recipe = recipe_of(name)
    with process_group() as device, model_parallel(recipe.parallel, device) as processes:
        ledger = Ledger()
        with Watched(ledger, without_data=False):
            found = take_steps(Engine(recipe, processes), ledger, LENGTH, every_pack=True)
        counted = {key: value for key, value in asdict(found).items() if key != "orders"}
        (folder / file_of(name, processes.rank, time)).write_text(json.dumps(counted), encoding="utf-8")


def main(folder: Path, names: list[str]) -> None:
    """Takes the steps of each case TIMES times, each in processes of its own."""
    fork = multiprocessing.get_context("fork")
    for number, (name, time) in enumerate(product(names, range(TIMES))):
        process = fork.Process(target=witness, args=(number, name, time, folder))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{name} ended with exit code {process.exitcode}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
