"""From a trained model and held-out proteins to a table and a JSON file."""

import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from d2plm_megatron.console import progress, show
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.loader import validation_packs
from d2plm_megatron.evaluation.likelihood import estimate, unigram_perplexity
from d2plm_megatron.files import write_text
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.runs.versions import versions


def evaluate(model: TrainedModel, data: str, num_draws: int, max_proteins: int) -> dict[str, Any]:
    """Every measure of the model's objective on held-out proteins, with all that is needed to compare it."""
    checkpoint, device = model.checkpoint, model.processes.device
    proteins = IndexedProteins(data)
    packs = validation_packs(proteins, checkpoint.recipe.data, max_proteins, rank=0, num_ranks=1)
    measures = model.likelihoods
    on_device = [pack.to(device) for pack in packs]
    begin = time.perf_counter()
    with progress("evaluating", len(packs) * num_draws * len(measures), "packs") as advance:
        estimates = {
            name: estimate(model.logits, measure, on_device, num_draws, advance) for name, measure in measures.items()
        }
    seconds = time.perf_counter() - begin
    return {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.state["progress"]["step"],
        "objective": checkpoint.recipe.objective.name,
        "weights": model.weights,
        "precision": model.precision,
        "data": data,
        "proteins": min(max_proteins, len(proteins)),
        "residues": sum(int(pack.scored_T.sum()) for pack in packs),
        "draws": num_draws,
        "likelihoods": {
            name: {
                "nll_per_residue": found.nats,
                "nll_standard_error": found.standard_error,
                "perplexity": found.perplexity,
                "perplexity_standard_error": found.perplexity_error,
            }
            for name, found in estimates.items()
        },
        "unigram_perplexity": unigram_perplexity(packs),
        "seconds": seconds,
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU",
        "versions": versions("d2plm-megatron", "torch", "megatron-core"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def print_evaluation(result: dict[str, Any]) -> None:
    """Prints the perplexities beside what a context-free model reaches."""
    table = Table(title=f"{result['checkpoint']}, {result['weights']}, {result['precision']}")
    for column in ("measure", "perplexity", "standard error", "nats per residue"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, found in result["likelihoods"].items():
        error = found["perplexity_standard_error"]
        shown = "one draw" if error is None else f"{error:.3f}"
        table.add_row(name, f"{found['perplexity']:.3f}", shown, f"{found['nll_per_residue']:.4f}")
    table.add_row("unigram (no context)", f"{result['unigram_perplexity']:.3f}", "", "")
    show(table)
    draws = "1 draw" if result["draws"] == 1 else f"{result['draws']} draws"
    print(f"{result['proteins']:,} proteins, {result['residues']:,} residues, {draws}, {result['seconds']:.1f} s")


def write_evaluation(result: dict[str, Any], path: Path) -> None:
    """Writes the result as JSON."""
    write_text(path, json.dumps(result, indent=1) + "\n")
