"""From a trained model and held-out proteins to a table and a JSON file."""

import json
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Data
from d2plm_megatron.console import show
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.loader import validation_packs
from d2plm_megatron.data.sequences import pack_sequences
from d2plm_megatron.evaluation.likelihood import Estimate, estimate, unigram_perplexity
from d2plm_megatron.files import write_text
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.spread import answers, shared_progress
from d2plm_megatron.proteins.alphabet import LONGEST_RESIDUES
from d2plm_megatron.proteins.fasta import read_fasta
from d2plm_megatron.runs.versions import versions


def evaluate(model: TrainedModel, data: str, num_draws: int, max_proteins: int) -> dict[str, Any]:
    """Every likelihood of the model's process on held-out proteins, with all that is needed to compare it.

    Args:
        model: to measure.
        data: a FASTA file, of whose proteins the first are taken, whole; or the prefix of an indexed dataset, of which
            a fixed sample is, cropped as in training.
        num_draws: of noise for each protein.
        max_proteins: to look at.

    Raises ValueError naming the protein that cannot be scored, or saying that there is nothing to score.
    """
    checkpoint = model.checkpoint
    num_proteins, packs = _packs(data, checkpoint.recipe.data, max_proteins)
    begin = time.perf_counter()
    estimates = _estimates(model, packs, num_draws)
    seconds = time.perf_counter() - begin
    return {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.state["progress"]["step"],
        "objective": checkpoint.recipe.objective.name,
        "weights": model.weights,
        "precision": model.precision,
        "data": data,
        "proteins": num_proteins,
        "residues": sum(int(pack.scored_T.sum()) for pack in packs),
        "draws": num_draws,
        "likelihoods": {name: _as_json(found) for name, found in estimates.items()},
        "unigram_perplexity": unigram_perplexity(packs),
        "seconds": seconds,
        "machine": torch.cuda.get_device_name()
        if model.processes.device.type == "cuda"
        else f"{platform.machine()} CPU",
        "versions": versions("d2plm-megatron", "torch", "megatron-core"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _estimates(model: TrainedModel, packs: Sequence[TokenBatch], num_draws: int) -> dict[str, Estimate]:
    likelihoods, spread = model.likelihoods, partial(answers, processes=model.processes)
    total = len(packs) * num_draws * len(likelihoods)
    with shared_progress("evaluating", total, "packs", model.processes) as advance:
        return {
            name: estimate(model.logits, likelihood, packs, num_draws, advance, spread)
            for name, likelihood in likelihoods.items()
        }


def _as_json(found: Estimate) -> dict[str, float | None]:
    return {
        "nll_per_residue": found.nats,
        "nll_standard_error": found.standard_error,
        "perplexity": found.perplexity,
        "perplexity_standard_error": found.perplexity_error,
    }


def _packs(data: str, options: Data, max_proteins: int) -> tuple[int, Sequence[TokenBatch]]:
    """The number of proteins, and their packs."""
    if Path(data).is_file() and Path(data).suffix not in (".bin", ".idx"):
        chosen = islice(read_fasta(data), max_proteins)
        packed = pack_sequences(chosen, options.tokens_per_pack, max_residues=LONGEST_RESIDUES)
        readouts.refuse(packed, readouts.masks, readouts.NO_LIKELIHOOD)
        return len(packed.ids), packed.packs
    proteins = IndexedProteins(data)
    packs = validation_packs(proteins, options, max_proteins, rank=0, num_ranks=1)
    return min(max_proteins, len(proteins)), packs


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
