"""A trial: a row trained on a corpus with one seed, measured on what is held out, sampled from, and judged.

Each part is left alone where its result is there, so that the same command goes on after it was stopped.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2plm_megatron.files import write_json, write_text
from verification.objectives.commands import call
from verification.objectives.corpora import Corpus
from verification.objectives.rows import COMMON, Row

RECIPES = Path(__file__).parents[2] / "recipes"
RESULTS = "evaluation", "sampling", "judge"
DRAWS = 4
_EVALUATIONS = re.compile(r"evaluations of the encoder\W+([\d.]+) per protein")


@dataclass(frozen=True)
class Trial:
    """One row, one seed, one corpus.

    Attributes:
        row: what is trained.
        seed: of its weights, noise and order.
        corpus: that it is trained on.
        steps: that it trains for.
        num_samples: proteins that it generates, to be judged; or 0.
    """

    row: Row
    seed: int
    corpus: Corpus
    steps: int
    num_samples: int

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.corpus.folder / "runs" / f"{self.row.folder}_{self.seed}"

    def measure(self, judge: Path) -> None:
        """Trains, evaluates, generates and judges, as far as that is not done."""
        evaluation, sampling, judgement = (self.run / f"{name}.json" for name in RESULTS)
        samples = self.run / "samples.fasta"
        if not evaluation.exists():
            self._train()
            data = ("--data", self.corpus.validation, "--draws", DRAWS)
            call("d2plm_megatron.evaluation", self.run, *data, "--output", evaluation)
        if self.num_samples and not sampling.exists():
            write_json(sampling, {"evaluations": self._generate(samples)})
        if self.num_samples and not judgement.exists():
            known = ("--reference", self.corpus.validation, "--train", self.corpus.train)
            call("d2plm_megatron", "judge", samples, *known, "--judge", judge, "--draws", 1, "--output", judgement)

    def numbers(self) -> dict[str, Any]:
        """What was found: nothing of what was not asked for. Raises FileNotFoundError before `measure` is done."""
        names = RESULTS if self.num_samples else RESULTS[:1]
        return {name: json.loads((self.run / f"{name}.json").read_text(encoding="utf-8")) for name in names}

    def _train(self) -> None:
        where = {"data.train": self.corpus.train, "data.validation": self.corpus.validation}
        what = {
            "output": self.run.parent,
            "name": self.run.name,
            "train.seed": self.seed,
            "train.max_steps": max(1, round(self.steps * self.row.share)),
        }
        often = {"validation.every_steps": self.steps, "train.save_every_steps": self.steps}
        overrides = [f"{key}={value}" for key, value in {**where, **what, **often}.items()]
        call("d2plm_megatron", "train", RECIPES / f"{self.row.recipe}.py", *COMMON, *self.row.overrides, *overrides)

    def _generate(self, samples: Path) -> float:
        """Generates all proteins anew, as what a killed command has left does not tell its evaluations.

        Returns the evaluations of the encoder that a protein took on average.
        """
        lengths = ("--length", f"like:{self.corpus.validation}", "--num-sequences", self.num_samples)
        printed = call("d2plm_megatron.generation", self.run, *lengths, "--output", samples, "--overwrite")
        found = _EVALUATIONS.search(printed)
        if found is None:
            raise ValueError(f"{self.run}: generation did not tell the evaluations of the encoder")
        return float(found[1])


def train_judge(corpus: Corpus, steps: int) -> Path:
    """The run of absorbing diffusion on other proteins, which judges samples."""
    judge = corpus.folder / "runs" / "judge"
    if not (judge / "done").exists():
        where = (f"data.train={corpus.others}/train", f"data.validation={corpus.others}/validation")
        what = (f"output={judge.parent}", f"name={judge.name}", f"train.max_steps={steps}")
        call("d2plm_megatron", "train", RECIPES / "absorbing_tiny.py", *COMMON, *where, *what)
        write_text(judge / "done", "")
    return judge
