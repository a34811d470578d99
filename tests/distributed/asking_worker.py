"""Run by torchrun: asks a trained model everything in each layout, one after the other, and writes the answers."""

import sys
from pathlib import Path

import numpy as np
import torch

from d2plm_megatron.config import Parallel
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.evaluate import evaluate
from d2plm_megatron.generation.generate import generate
from d2plm_megatron.generation.request import Request
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.runs.checkpoint import Checkpoint

LAYOUTS = {"DP2": Parallel(), "TP2": Parallel(tensor=2), "PP2": Parallel(pipeline=2)}
PROTEINS = ["MKTVRQGLLAGVSERTIDPK", "LAGVSERTIDPKQNFYMHWCXB" * 2, "M", "GGSGGSWWY" * 5, "ACDEFGHIKLMNPQRSTVWY"]
TOKENS_PER_PACK = 50
"""So that there are packs enough to share out, and not the same number for each."""


def answers(model: TrainedModel, data: str, output: Path) -> dict[str, np.ndarray]:
    """Numbers by what they are, of all proteins, and letters as bytes; OUTPUT is a FASTA file of generated ones."""
    pack = {"tokens_per_pack": TOKENS_PER_PACK}
    found: dict[str, np.ndarray] = {"perplexity": np.array(model.perplexity(PROTEINS, **pack))}
    for layer in range(5):
        found[f"layer {layer}"] = np.concatenate(model.embed(PROTEINS, layer=layer, **pack))
    found["log_probs"] = np.concatenate(model.log_probs([*PROTEINS, "MK_V__"], **pack))
    proteins = model.generate(num_sequences=7, length=(5, 30), num_steps=4, **pack)
    found["letters"] = np.frombuffer(" ".join(proteins).encode(), dtype=np.uint8)
    generate(model, asked_for(model.checkpoint), output)
    result = evaluate(model, data, EvaluationConfig(num_draws=3, max_proteins=20, window=30, pseudo_proteins=2))
    measured, guesses = result.likelihoods["elbo"], result.curves.cells / result.curves.cells[..., :1].sum()
    found["evaluation"] = np.append(measured.nats / measured.residues, measured.standard_error)
    found["guesses"] = np.concatenate([guesses.sum((0, 1)), guesses.sum(1)[:, 3]]).round(8)  # added up in any order
    assert result.pseudo is not None
    found["pseudo"] = result.pseudo.draws.nats / result.pseudo.draws.residues
    return found


def asked_for(checkpoint: Checkpoint) -> Request:
    """Templates of several lengths, with proteins that are drawn again, and scores."""
    templates = ("A_", "_" * 20 + "MKTV" + "_" * 9, "W____")
    return Request(
        checkpoint=checkpoint,
        num_sequences=3,
        template=templates,
        exclude=(str(checkpoint.path.parents[2] / "known.fasta"),),
        steps=4,
        rank=True,
        score=True,
        tokens_per_pack=TOKENS_PER_PACK,
    )


def main(run: str, data: str, output: Path) -> None:
    """Writes OUTPUT/LAYOUT_RANK.npz."""
    torch.set_num_threads(1)
    for name, parallel in LAYOUTS.items():
        with TrainedModel.open(run, parallel=parallel) as model:
            np.savez(output / f"{name}_{model.processes.rank}.npz", **answers(model, data, output / f"{name}.fasta"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
