"""The commands of docs/weights.md are run as printed, with as few steps as will do, and leave what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from d2plm_megatron.checkpoint import tensors
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.tensor_index import EMA

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "weights.md"
SHORT = "train.max_steps=2 validation.max_proteins=8 train.global_batch_tokens=1024"


@pytest.mark.timeout(900)
def test_every_command_works_as_printed(tmp_path: Path) -> None:
    for folder in ("recipes", "d2plm_megatron"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    prepare = (
        "d2plm simulate --output family.fasta --proteins 200 && "
        "d2plm prepare --input family.fasta --output data/family --validation 0.1 --no-homology"
    )
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for command in (prepare, *"".join(blocks).splitlines()):
        typed = f"{command} {SHORT}" if "data.train=" in command else command
        done = subprocess.run(
            ["bash", "-c", typed], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"$ {typed}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        if "inspect" in command:
            assert "began with" in done.stdout
        if "--dry-run" in command:
            assert "of which train" in done.stdout
    parent, last, most = (weights(tmp_path / "runs" / name) for name in ("parent", "last", "most"))
    unchanged = {name for name in parent if torch.equal(last[name], parent[name])}
    assert parent.keys() - unchanged == {
        *(name for name in parent if name.startswith("decoder.layers.")),
        "output_layer.weight",
    }
    fc2 = "decoder.layers.mlp.linear_fc2.weight"
    assert torch.equal(last[fc2][:3], parent[fc2][:3])
    assert {name for name in parent if torch.equal(most[name], parent[name])} == {"embedding.word_embeddings.weight"}


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The average that a run ended with."""
    return tensors.load_whole(Checkpoint.open(run).path, EMA)
