"""docs/python.md is executed as printed, in a fresh interpreter without torchrun."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from d2plm_megatron import Recipe, train
from d2plm_megatron.config import EMA, Data, Model, Optimizer, Train, Validation

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_page_runs_as_printed(write_proteins: Callable[..., Path], tmp_path: Path) -> None:
    data = str(write_proteins([40] * 60))
    train(
        Recipe(
            name="demo",
            output=str(tmp_path / "runs"),
            model=Model(num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
            data=Data(train=data, validation=data, max_length_residues=62, tokens_per_pack=256),
            optimizer=Optimizer(lr=1e-2, warmup_steps=1),
            ema=EMA(decay=0.5),
            train=Train(max_steps=4, precision="fp32", global_batch_tokens=256),
            validation=Validation(every_steps=4),
        )
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", "\n".join(blocks())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stderr == ""
    printed = done.stdout.splitlines()
    assert any(re.fullmatch(r"insulin_a \d+\.\d+", line) for line in printed)
    assert "(21, 32) (32,)" in printed
    assert sum(bool(re.fullmatch("[LAGVSERTIDPKQNFYMHWC]{60,80}", line)) for line in printed) == 4
    assert {"train 2", "validation 2", "train 4", "validation 4"} <= set(printed)


def test_every_method_is_on_the_page() -> None:
    code = "".join(blocks())
    for call in ("TrainedModel.open(", ".perplexity(", ".embed(", ".log_probs(", ".generate(", "train(", "metrics("):
        assert call in code
