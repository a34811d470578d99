"""From real proteins to trained models and new proteins, with the commands that a user types.

    python -m verification.uniref --input uniref90.fasta.gz

Prepares them with a tenth held out and its homologs removed from training by MMseqs2, trains a tiny model per objective
on two processes, evaluates the EMA on the tenth, samples, and prints beside the models what n-grams of the training
proteins reach. Fails when a model does not get below the 1-gram, which is what a model without context reaches.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from d2plm_megatron.console import run

RECIPES = {"absorbing_tiny": "elbo", "fm_tiny": "elbo", "mlm_tiny": "masked"}
"""Of each recipe the measure that must end below the 1-gram."""

RECIPE_FOLDER = Path(__file__).parent.parent / "recipes"


def main(
    source: Annotated[Path, typer.Option("--input", help="FASTA or FASTA.gz with some thousand proteins")],
    output: Annotated[Path, typer.Option(help="folder for data and runs")] = Path("runs/uniref"),
    steps: Annotated[int, typer.Option(min=1, help="optimizer steps of each model")] = 600,
    processes: Annotated[int, typer.Option(min=1, help="data-parallel processes")] = 2,
) -> None:
    """Trains a tiny model per objective on real proteins and compares it with n-grams."""
    data = output / "data"
    _python("data_tools.prepare", "--input", source, "--output", data, "--validation", 0.1)
    results = {}
    for recipe in RECIPES:
        _train(recipe, data, output, steps, processes)
        evaluation = output / recipe / "evaluation.json"
        _python("d2plm_megatron.evaluation", output / recipe, "--data", data / "validation", "--overwrite")
        _python("d2plm_megatron.generation", output / recipe, "--overwrite")
        results[recipe] = json.loads(evaluation.read_text(encoding="utf-8"))
    _print(results)
    above = [name for name, measure in RECIPES.items() if not _is_below_unigram(results[name], measure)]
    if above:
        raise ValueError(f"not below the 1-gram of the training proteins after {steps} steps: {', '.join(above)}")


def _train(recipe: str, data: Path, output: Path, steps: int, processes: int) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    paths = {"data.train": data / "train", "data.validation": data / "validation", "output": output}
    overrides = [f"{key}={value}" for key, value in {**paths, "train.max_steps": steps}.items()]
    command = [*torchrun, str(RECIPE_FOLDER / f"{recipe}.py"), *overrides]
    threads = max(1, (os.cpu_count() or 1) // processes)
    _run(command, {"OMP_NUM_THREADS": str(threads)})


def _python(module: str, *arguments: Any) -> None:
    _run([sys.executable, "-m", module, *map(str, arguments)], {})


def _run(command: list[str], environment: dict[str, str]) -> None:
    print("$", *command[1:], flush=True)
    done = subprocess.run(command, env={**os.environ, **environment})
    if done.returncode:
        raise ValueError(f"failed with exit code {done.returncode}: {' '.join(command)}")


def _is_below_unigram(result: dict[str, Any], measure: str) -> bool:
    return bool(result["likelihoods"][measure]["perplexity"] < result["floors"]["1-gram"]["perplexity"])


def _print(results: dict[str, dict[str, Any]]) -> None:
    table = Table(title="held-out perplexity of the EMA")
    for column in ("recipe", "steps", "elbo", "masked 15%"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    for recipe, result in results.items():
        found = result["likelihoods"]
        shown = [_with_error(found[measure]) if measure in found else "" for measure in ("elbo", "masked")]
        table.add_row(recipe, str(result["step"]), *shown)
    for name, floor in next(iter(results.values()))["floors"].items():
        table.add_row(f"{name} of training", "", _with_error(floor), "")
    Console().print(table)


def _with_error(found: dict[str, float]) -> str:
    return f"{found['perplexity']:.3f} +- {found['perplexity_error']:.3f}"


if __name__ == "__main__":
    run(main)
