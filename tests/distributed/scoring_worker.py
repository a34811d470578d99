"""Run by torchrun: asks about given proteins by each command in each layout, into a folder each, and judges them."""

import sys
from pathlib import Path

import torch

from d2plm_megatron.evaluation.judge import main as judge
from d2plm_megatron.scoring.__main__ import embed, mutations, score

LAYOUTS = {"DP2": 1, "TP2": 2}
"""Processes that share each layer."""
WILD_TYPE = "MKTVRQGLLAGVSERTIDPK"
PACK = {"tokens_per_pack": 50}
"""So that there are packs enough to share out, in more than one round."""


def ask(run: Path, folder: Path, tensor: int = 1) -> None:
    """Writes scores, effects of mutations and embeddings."""
    given = folder.parent / "given"
    score(run, given / "x.fasta", folder / "scores.csv", draws=2, pseudo=True, tensor=tensor, **PACK)
    methods = ["masked", "elbo"]
    mutations(run, given / "m.csv", WILD_TYPE, folder / "effects.csv", method=methods, draws=2, tensor=tensor, **PACK)
    mutations(run, given / "assays", output=folder / "assays", tensor=tensor, **PACK)
    embed(run, given / "x.fasta", folder / "states.safetensors", tensor=tensor, **PACK)
    embed(run, given / "x.fasta", folder / "means.parquet", mean=True, tensor=tensor, **PACK)
    natural = str(given / "natural.fasta")
    judge(given / "natural.fasta", natural, output=folder / "judge.json", judge=run, draws=2, tensor=tensor, **PACK)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, tensor in LAYOUTS.items():
        ask(Path(sys.argv[1]), Path(sys.argv[2]) / name, tensor)
