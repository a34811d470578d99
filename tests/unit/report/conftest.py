"""A run folder as training leaves it behind, and proteins to go with it, without training anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from d2plm_megatron.config import MODEL_SIZES, Data, Recipe
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.evaluation import judge
from d2plm_megatron.evaluation.samples.homology import Neighbour
from d2plm_megatron.proteins import mmseqs
from d2plm_megatron.proteins.alignment import align
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.tables import write_table
from d2plm_megatron.runs import metrics
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.scoring.heat_map import write_heat_map

MOMENT = "2026-11-20T13:43:00+00:00"
_EVALUATION = {
    "checkpoint": "runs/small/checkpoints/step_00000020",
    "step": 20,
    "objective": "absorbing",
    "proteins": 286,
    "residues": 38010,
    "draws": 8,
    "likelihoods": {"elbo": {"perplexity": 12.3456, "perplexity_error": 0.0123, "nats_per_residue": 2.513}},
    "unigram_perplexity": 17.6,
    "floors": {
        "1-gram": {"perplexity": 17.7, "perplexity_error": 0.04},
        "2-gram": {"perplexity": 13.1, "perplexity_error": 0.04},
    },
    "noise_is": "masks",
    "by_noise": [{"from": n / 10, "to": (n + 1) / 10, "perplexity": 11.0 + n / 5} for n in range(10)],
    "calibration": {"error": 0.012, "bins": [{"share": 0.25, "confidence": c, "accuracy": c} for c in (0.1, 0.3, 0.6)]},
    "by_residue": {"A": {"perplexity": 14.0}, "W": {"perplexity": 9.0}},
    "by_length": [{"from": 60, "to": 80, "perplexity": 12.0, "standard_error": 0.01}],
    "machine": "x86_64 CPU",
    "versions": {"torch": "2.13.0"},
    "date": MOMENT,
}


@pytest.fixture
def evaluation() -> dict[str, Any]:
    """What `d2plm evaluate --output` writes."""
    return dict(_EVALUATION)


@pytest.fixture
def make_run(tmp_path: Path, write_checkpoint: Callable[..., Path]) -> Callable[..., Path]:
    """Writes recipe.yaml, metrics.jsonl and a checkpoint's state for a run of the given name; returns its folder."""

    def make(name: str = "small") -> Path:
        recipe = Recipe(name=name, model=MODEL_SIZES["tiny"], data=Data(validation="held out/validation"))
        folder = RunFolder(tmp_path / "run")
        folder.path.mkdir()
        (folder.path / "recipe.yaml").write_text(to_yaml(recipe))
        train = {"perplexity": 18.0, "lr": 1e-3, "gradient_norm": 0.5, "tokens": 81920, "proteins": 600}
        lines = [{"kind": "train", "step": step, "time": MOMENT, **train} for step in (10, 20)]
        lines.append({"kind": "validation", "step": 20, "time": MOMENT, "elbo_nll": 2.8, "elbo_perplexity": 16.4})
        for line in lines:
            metrics.append(folder.metrics, line)
        write_checkpoint(folder, 20, is_best=True, recipe=recipe, num_tokens=163840, num_proteins=1200)
        return folder.path

    return make


@pytest.fixture
def make_fasta(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of the given name with a random protein of 60 residues under each of the given headers."""

    def make(name: str, headers: list[str], seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        records = (f">{header}\n{''.join(rng.choice(list(CANONICAL_LETTERS), 60))}\n" for header in headers)
        path = tmp_path / name
        path.write_text("".join(records), encoding="utf-8")
        return path

    return make


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with samples.fasta and with what `d2plm judge` writes of them; natural.fasta is what they are like."""
    folder = tmp_path_factory.mktemp("judged")
    rng = np.random.default_rng(0)
    natural = ["".join(rng.choice(list(CANONICAL_LETTERS), 60)) for _ in range(24)]
    samples = [natural[0][:50] + "W" * 10, natural[1][5:], "".join(rng.choice(list(CANONICAL_LETTERS), 60))]
    for name, proteins in (("natural", natural), ("samples", samples)):
        records = (f">{name}_{n} seed=0 steps={8 + n}\n{letters}\n" for n, letters in enumerate(proteins))
        (folder / f"{name}.fasta").write_text("".join(records))
    with patch.object(mmseqs, "version", side_effect=ValueError("MMseqs2 takes half a minute")):
        judge.main(folder / "samples.fasta", str(folder / "natural.fasta"), output=folder / "judge.json")
    near = [Neighbour(f"samples_{n}", f"natural_{n}", 0.9, 0.8, 1e-9, align(samples[n], natural[n])) for n in (0, 1)]
    found = json.loads((folder / "judge.json").read_text())
    (folder / "judge.json").write_text(json.dumps({**found, "nearest": [one.as_json() for one in near]}))
    return folder


@pytest.fixture
def write_mutants(tmp_path: Path) -> Callable[[Path], None]:
    """Writes, as `d2plm mutations` does, a heat map and a table of scored mutants into a folder."""

    def write(folder: Path) -> None:
        odds = np.random.default_rng(0).normal(-2, 1, (30, 20))
        odds[4, CANONICAL_LETTERS.index("K")] = 3.0
        write_heat_map(folder / "protein.png", "MKTAYIAKQR" * 3, odds, 10, "masked marginals, runs/$small")
        columns = {"mutant": str, "DMS_score": str, "masked_marginal": float}
        with write_table(folder / "assay.scored.csv", columns) as row:
            for number in range(40):
                row((f"A{number}C", str(number * 0.5), number + 3.0 * (number % 5)))

    return write
