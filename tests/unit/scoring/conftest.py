"""Tiny models of each kind, trained for some steps on families of proteins, and asked about them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from d2plm_megatron.config import (
    EMA,
    Absorbing,
    Data,
    FlowMatching,
    MaskedLM,
    MetricFlow,
    Model,
    Optimizer,
    Recipe,
    Train,
)
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.training.trainer import Trainer

OBJECTIVES = {
    "absorbing": Absorbing(),
    "timed": FlowMatching(),
    "uniform": FlowMatching(source="uniform"),
    "bayes": FlowMatching(source="uniform", posterior="bayes"),
    "metric": MetricFlow(),
    "mlm": MaskedLM(),
    "all_masks": MaskedLM(mask_fraction=1.0, random_fraction=0.0),
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of runs of some steps, by their objective."""
    from benchmarks.random_proteins import write_proteins

    folder = tmp_path_factory.mktemp("asked")
    prefix = write_proteins(folder / "proteins", [40] * 60, 0)

    def train(name: str) -> Path:
        if not (folder / name).exists():
            recipe = Recipe(
                name=name,
                output=str(folder),
                model=Model(num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64,
                            time_conditioning=name in ("timed", "uniform", "bayes", "metric")),
                objective=OBJECTIVES[name],
                data=Data(train=str(prefix), max_length_residues=40, tokens_per_pack=256),
                optimizer=Optimizer(lr=1e-2, warmup_steps=1),
                ema=EMA(decay=0.5),
                train=Train(max_steps=12, precision="fp32", global_batch_tokens=256),
            )  # fmt: skip
            with parallel_context() as processes:
                Trainer.of(recipe, processes).fit()
        return folder / name

    return train
