"""A run folder as training leaves it behind, and proteins to go with it, without training anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2plm_megatron.config import MODEL_SIZES, Data, Recipe
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.runs import metrics
from d2plm_megatron.runs.folder import RunFolder

MOMENT = "2026-11-20T13:43:00+00:00"
_EVALUATION = {
    "checkpoint": "runs/small/checkpoints/step_00000020",
    "step": 20,
    "objective": "absorbing",
    "proteins": 286,
    "residues": 38010,
    "draws": 8,
    "likelihoods": {"elbo": {"perplexity": 12.3456, "perplexity_standard_error": 0.0123, "nll_per_residue": 2.513}},
    "unigram_perplexity": 17.6,
    "machine": "x86_64 CPU",
    "versions": {"torch": "2.13.0"},
    "date": MOMENT,
}


@pytest.fixture
def evaluation() -> dict[str, Any]:
    """What `python -m d2plm_megatron.evaluation --output` writes."""
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
