"""What a model says about given proteins is in the same files however many processes were asked."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from d2plm_megatron.config import EMA, Absorbing, Data, Model, Optimizer, Recipe, Train
from d2plm_megatron.training.run import train
from tests.distributed.scoring_worker import LAYOUTS, WILD_TYPE, ask

FILES = ("scores.csv", "effects.csv", "assays/a.csv", "assays/summary.csv", "states.safetensors", "means.parquet")


def test_files_are_those_of_one_process(
    write_proteins: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte where proteins are shared out, and but for rounding where layers are."""
    monkeypatch.setenv("PATH", str(tmp_path))  # without MMseqs2, which takes longer than all of this
    run = train(
        Recipe(
            output=str(tmp_path),
            model=Model(num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
            objective=Absorbing(),
            data=Data(train=str(write_proteins([40] * 60)), max_length_residues=40, tokens_per_pack=256),
            optimizer=Optimizer(lr=1e-2, warmup_steps=1),
            ema=EMA(decay=0.5),
            train=Train(max_steps=12, precision="fp32", global_batch_tokens=256),
        )
    )
    write_given(tmp_path / "given")
    ask(run, tmp_path / "alone")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.distributed.scoring_worker", str(run), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for name in ("scores.csv", "judge.json"):
        assert done.stdout.count(name) == len(LAYOUTS)  # said once for all processes
    for name in FILES:
        assert (tmp_path / "DP2" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
    alone, shared, split = (json.loads((tmp_path / name / "judge.json").read_text()) for name in ("alone", *LAYOUTS))
    assert shared["judge"]["processes"] == 2
    for key in ("model_perplexity", "frechet"):
        found, expected = split["measures"].pop(key), alone["measures"].pop(key)
        assert found["samples"]["value"] == pytest.approx(expected["samples"]["value"], rel=1e-4)
        for name, cell in shared["measures"].pop(key).items():  # linear algebra rounds as it has threads
            assert cell == pytest.approx(expected[name], rel=1e-4)
    assert shared["measures"] == alone["measures"]
    expected = load_file(tmp_path / "alone" / "states.safetensors")
    for name, values in load_file(tmp_path / "TP2" / "states.safetensors").items():
        assert np.allclose(values, expected[name], rtol=2e-5, atol=2e-5)
    for name in ("scores.csv", "effects.csv"):
        found, alone = (numbers(tmp_path / folder / name) for folder in ("TP2", "alone"))
        assert found.keys() == alone.keys()
        assert all(values == pytest.approx(alone[key], rel=1e-4, abs=1e-3) for key, values in found.items())


def write_given(folder: Path) -> None:
    """Proteins, mutants, and a folder of assays."""
    (folder / "assays").mkdir(parents=True)
    letters = [
        "MKTVRQGLLAGVSERTIDPK",
        "LAGVSERTIDPKQNFYMHWCXB" * 2,
        "M",
        "GGSGGSWWY" * 7,
        *["ACDEFGHIKLMNPQRSTVWY"] * 9,
    ]
    (folder / "x.fasta").write_text("".join(f">p{i}\n{one[: 40 + i]}\n" for i, one in enumerate(letters)))
    natural = [3 * letters[number % 4] + letters[4][number:] for number in range(40)]
    (folder / "natural.fasta").write_text("".join(f">n{i}\n{one}\n" for i, one in enumerate(natural)))
    mutants = [f"{WILD_TYPE[place]}{place + 1}{letter}" for place in (0, 3, 9, 19) for letter in "ACWY"]
    (folder / "m.csv").write_text("\n".join(["mutant", *mutants, f"{mutants[0]}:{mutants[-1]}"]) + "\n")
    rows = [
        f"{one},{WILD_TYPE[: int(one[1:-1]) - 1]}{one[-1]}{WILD_TYPE[int(one[1:-1]) :]},{i}"
        for i, one in enumerate(mutants)
    ]
    (folder / "assays" / "a.csv").write_text("\n".join(["mutant,mutated_sequence,DMS_score", *rows]) + "\n")


def numbers(path: Path) -> dict[str, list[float]]:
    with path.open(newline="") as file:
        _, *rows = csv.reader(file)
    return {row[0]: [float(text) for text in row[1:]] for row in rows}
