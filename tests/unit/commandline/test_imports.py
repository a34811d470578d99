"""What a command says before it works costs no import that it does not need."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.commandline.commands import COMMANDS
from d2plm_megatron.config.recipe_files import shipped
from d2plm_megatron.data.cluster_file import write_clusters

HEAVY = (
    *("torch", "megatron", "transformer_engine", "safetensors", "transformers", "wandb"),
    *("matplotlib", "jinja2", "Bio", "hydra.core.override_parser", "scipy", "pandas"),
)
PARSER = "hydra.core.override_parser"
"""What a value on the command line, or in a recipe that varies another, is read with."""

CODE = f"""
import atexit, sys
atexit.register(lambda: print("imported:", *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr))
from d2plm_megatron.commandline.commands import main
for words in {{calls}}:
    sys.argv = ["d2plm", *words]
    try:
        main()
    except SystemExit as ended:
        print("code:", ended.code or 0, file=sys.stderr)
"""


def imported(*calls: list[str]) -> tuple[set[str], set[str]]:
    """(of the heavy modules those that the calls imported, their exit codes), of one process that makes all."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(calls=calls)], capture_output=True, text=True, check=True, timeout=300
    )
    *said, last = done.stderr.splitlines()
    codes = {line.partition(": ")[2] for line in said if line.startswith("code: ")}
    return set(last.removeprefix("imported:").split()), codes


def test_no_help_of_a_command_imports_anything_heavy() -> None:
    helps = [[*name.split(), "--help"] for name in COMMANDS]
    assert imported([], ["--help"], ["--version"], ["checkpoint"], ["recipes"], *helps) == (set(), {"0"})


def test_no_slip_imports_anything_heavy() -> None:
    slips = [
        "preprae",
        "prepare --inptu x",
        "checkpoint inspct",
        "train fm_45m",
        "train fm_450m --lr 3",
        "rehearse fm_450m --ranks 1",
    ]
    keys = ["train fm_450m train.max_stepz=3", "train", "train nowhere.py", "train --from nowhere.yaml"]
    nowhere = ["checkpoint inspect nowhere", "evaluate nowhere --data x", "generate nowhere", "report nowhere"]
    nowhere += ["score nowhere --input x", "mutations nowhere --input x", "embed nowhere --input x --output x.parquet"]
    found, codes = imported(*(words.split() for words in [*slips, *keys, *nowhere]))
    assert (found, codes) == (set(), {"2"})


def test_a_recipe_is_explained_and_shown_without_torch() -> None:
    names = [path.stem for path in shipped()]
    for what in (["--help"], ["--cfg", "job"], ["--dry-run", "--world-size", "64"]):
        found, codes = imported(*(["train", name, *what] for name in names))
        assert found <= {PARSER}
        assert codes <= {"0", "2"}  # 2 of a recipe whose batch 64 processes cannot share


@pytest.mark.parametrize("override", ["optimizer.lr=-1", "train.max_steps=many", "model=huge"])
def test_a_wrong_value_is_refused_without_torch(override: str) -> None:
    found, codes = imported(["train", "fm_450m", override])
    assert found <= {PARSER} and codes == {"2"}


def test_a_dry_run_measures_data_without_torch(write_proteins) -> None:
    prefix = write_proteins([30] * 60)
    clusters = write_clusters(Path(f"{prefix}.clusters.npy"), np.arange(60) // 6)
    data = [f"data.train={prefix}", f"data.clusters={clusters}", f"data.validation={prefix}"]
    assert imported(["train", "absorbing_tiny", "--dry-run", *data]) == ({PARSER}, {"0"})


def test_asking_a_model_on_a_cpu_takes_no_compiler() -> None:
    """Nor anything else that Megatron imports and nobody uses."""
    spared = {"torch._dynamo", "torch._inductor", "wandb"}
    code = f"import sys, d2plm_megatron.inference.model; print({spared} & sys.modules.keys() or 'none')"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "none\n"


def test_what_is_spared_can_be_imported_after_all() -> None:
    code = "import torch, d2plm_megatron.inference.model, wandb; print(torch.compile.__module__, wandb.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "torch wandb\n"
