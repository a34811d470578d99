"""A trained model gives the same answers however it is split over processes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.config import EMA, Absorbing, Data, FlowMatching, Model, Optimizer, Recipe, Train
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.fasta import read_records
from d2plm_megatron.training.run import train
from tests.distributed.asking_worker import LAYOUTS, answers

ROUNDING = 2e-5
"""Relative to numbers above 1, absolute below; 4.1e-6 was found with TP2, and less where threads are as many."""

ROUNDING_OF_MEANS = 1e-6
"""Of nats per residue, which are means over the residues of a protein."""


def without_scores(path: Path) -> list[tuple[str, str]]:
    """Headers, without the perplexities, of which layouts round the last digits, and letters."""
    return [(header.partition(" perplexity=")[0], letters) for header, letters in read_records(path)]


@pytest.mark.parametrize("conditioned", [False, True], ids=["absorbing", "timed"])
def test_layouts_answer_like_one_process(
    conditioned: bool, write_proteins: Callable[..., Path], tmp_path: Path
) -> None:
    data = str(write_proteins([40] * 60))
    run = train(
        Recipe(
            output=str(tmp_path),
            model=Model(num_layers=4, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64,
                        time_conditioning=conditioned),
            objective=FlowMatching() if conditioned else Absorbing(),
            data=Data(train=data, max_length_residues=40, tokens_per_pack=256),
            optimizer=Optimizer(lr=1e-2, warmup_steps=1),
            ema=EMA(decay=0.5),
            train=Train(max_steps=12, precision="fp32", global_batch_tokens=256),
        )
    )  # fmt: skip
    known = (f">{letter}\nA{letter}\n" for letter in CANONICAL_LETTERS[:15])
    (tmp_path / "known.fasta").write_text("".join(known))
    with TrainedModel.open(run) as model:
        expected = answers(model, data, tmp_path / "one.fasta")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.distributed.asking_worker", str(run), data, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for layout in LAYOUTS:
        assert without_scores(tmp_path / f"{layout}.fasta") == without_scores(tmp_path / "one.fasta")
        for rank in (0, 1):
            with np.load(tmp_path / f"{layout}_{rank}.npz") as found:
                assert found.files == list(expected)
                for name, values in expected.items():
                    difference = np.abs(found[name] - values) / np.maximum(1, np.abs(values))
                    allowed = {"letters": 0, "evaluation": ROUNDING_OF_MEANS}.get(name, ROUNDING)
                    assert difference.max() <= allowed, (layout, rank, name)
    with np.load(tmp_path / "DP2_0.npz") as found, np.load(tmp_path / "PP2_0.npz") as other:
        assert all(np.array_equal(found[name], other[name]) for name in expected)  # the same arithmetic
