"""What a run left behind: its recipe, its log, and its newest checkpoint's state."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import from_yaml
from d2plm_megatron.console import note
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.proteins.alphabet import CANONICAL, SIZE
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.integrity import Damaged
from d2plm_megatron.runs.metrics import read_metrics

MOST_RESIDUES = 1 << 26


@dataclass(frozen=True)
class RunRecord:
    """A run as it stands.

    Attributes:
        path: its folder.
        recipe: with all overrides.
        recipe_text: the same as YAML.
        metrics: the lines of metrics.jsonl.
        state: state.json of the newest checkpoint; None without one.
    """

    path: Path
    recipe: Recipe
    recipe_text: str
    metrics: list[dict[str, Any]]
    state: dict[str, Any] | None

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Reads the folder of a run; raises ValueError when it is none, or when a file in it is damaged."""
        recipe = path / "recipe.yaml"
        if not recipe.is_file():
            raise ValueError(f"{path}: not the folder of a run: there is no recipe.yaml in it")
        run = RunFolder(path)
        return cls(
            path=path,
            recipe=from_yaml(recipe),
            recipe_text=recipe.read_text(encoding="utf-8"),
            metrics=list(read_metrics(run.metrics, note)),
            state=_newest_state(run),
        )

    @property
    def trained(self) -> dict[str, int]:
        """Steps, tokens and proteins seen: by the newest checkpoint, else by the log, which may be behind."""
        if self.state is not None:
            progress = self.state["progress"]
            return {"steps": progress["step"], "tokens": progress["num_tokens"], "proteins": progress["num_proteins"]}
        reports = [line for line in self.metrics if line["kind"] == "train"]
        last = reports[-1] if reports else {"step": 0, "tokens": 0, "proteins": 0}
        return {"steps": last["step"], "tokens": last["tokens"], "proteins": last["proteins"]}

    def unigram_perplexity(self) -> float | None:
        """What a model reaches on the held-out proteins that knows only how common each of the 20 residues is there.

        None without such proteins, or where they cannot be read; of very many it is that of the first.
        """
        prefix = self.recipe.data.validation
        try:
            residues = IndexedProteins(prefix).residues[:MOST_RESIDUES] if prefix else np.array([], dtype=np.uint8)
        except (OSError, ValueError):
            return None
        counts = np.bincount(residues, minlength=SIZE)[CANONICAL.start : CANONICAL.stop]
        shares = counts[counts > 0] / max(1, counts.sum())
        return math.exp(-(shares * np.log(shares)).sum()) if len(shares) else None

    @property
    def last_activity(self) -> str | None:
        """Date and time of the last line of the log, ISO 8601."""
        return self.metrics[-1]["time"] if self.metrics else None


def _newest_state(run: RunFolder) -> dict[str, Any] | None:
    for path in run.newest_first():
        try:
            return Checkpoint.open(path).state
        except Damaged as damage:
            note(f"{damage}; the checkpoint before it is reported instead")
    return None
