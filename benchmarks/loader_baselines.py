"""The ways to get batches of the same proteins, each ready to deliver them epoch by epoch on one core."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.interleaved import Baseline, Step
from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.loader import global_batches
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.proteins import alphabet


@dataclass(frozen=True)
class Job:
    """What every baseline reads.

    Attributes:
        prefix: of the proteins.
        options: how long proteins may be, how many tokens a pack holds.
        num_batches: of a round, each a whole epoch.
        device: where the batches are made.
    """

    prefix: str
    options: Data
    num_batches: int = 1
    device: str = "cpu"

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of every protein, cropped, with both ends, int64."""
        lengths = np.concatenate([lengths for lengths, _ in IndexedProteins(self.prefix).pieces()])
        return np.minimum(lengths, self.options.max_length_residues) + 2

    @property
    def num_tokens(self) -> int:
        """Of an epoch."""
        return int(self.lengths.sum())

    @property
    def batch_size(self) -> int:
        """Proteins of a padded batch: as many as a pack holds on average."""
        return max(1, round(self.options.tokens_per_pack / self.lengths.mean()))

    def padding_of_padded(self) -> float:
        """The share of padding where shuffled proteins are padded to the longest of their batch."""
        order = np.random.default_rng(0).permutation(self.lengths)
        batches = np.array_split(order, range(self.batch_size, len(order), self.batch_size))
        return 1 - self.num_tokens / sum(int(batch.max()) * len(batch) for batch in batches)

    def padding_of_packs(self) -> float:
        """The share of padding in the packs of the first epoch."""
        stream = PackStream.open(self.options, seed=0)
        assert stream.num_windows is not None
        packs = [pack for window in range(stream.num_windows) for pack in stream.window(0, window)]
        return 1 - sum(int(pack.num_tokens.sum()) for pack in packs) / (len(packs) * self.options.tokens_per_pack)


@contextmanager
def ours(job: Job) -> Iterator[Step]:
    """What the trainer reads, without the thread that reads ahead."""
    torch.set_num_threads(1)
    batches = global_batches(PackStream.open(job.options, seed=0), Position(), 1, 0, 1)
    ahead = 0

    def step(number: int) -> None:
        nonlocal ahead
        while ahead < job.num_tokens:
            ahead += next(batches).num_tokens
        ahead -= job.num_tokens

    yield step


@contextmanager
def on_the_fly(job: Job) -> Iterator[Step]:
    """Letters in a datasets.Dataset, which EsmTokenizer turns into ids when a batch is asked for."""
    with esm_tokenizer() as tokenizer:
        longest = job.options.max_length_residues + 2

        def tokenize(rows: dict[str, Any]) -> dict[str, Any]:
            return dict(tokenizer(rows["sequence"], truncation=True, max_length=longest))

        yield _loader_step(_dataset(job).with_transform(tokenize), tokenizer, job)


@contextmanager
def beforehand(job: Job) -> Iterator[Step]:
    """The same, tokenised before the clock starts with Dataset.map, which keeps int32 ids on disk."""
    with esm_tokenizer() as tokenizer, tempfile.TemporaryDirectory() as folder:
        longest = job.options.max_length_residues + 2
        ready = _dataset(job).map(
            lambda rows: tokenizer(rows["sequence"], truncation=True, max_length=longest),
            batched=True,
            remove_columns=["sequence"],
            cache_file_name=str(Path(folder) / "tokens.arrow"),
        )
        yield _loader_step(ready, tokenizer, job)


BASELINES: dict[str, Baseline] = {
    "ours": ours,
    "DataLoader + datasets, tokenised on the fly": on_the_fly,
    "DataLoader + datasets, tokenised beforehand": beforehand,
}
"""By the name in the table."""


def _dataset(job: Job) -> Any:
    from datasets import Dataset, disable_progress_bars  # only these baselines need it

    disable_progress_bars()
    proteins = IndexedProteins(job.prefix)
    stored = (proteins[number].tobytes() for number in range(len(proteins)))
    sequences = [residues.translate(alphabet.LETTER_OF_ID).decode() for residues in stored]
    return Dataset.from_dict({"sequence": sequences})


@contextmanager
def esm_tokenizer() -> Iterator[Any]:
    """Hugging Face's EsmTokenizer with ESM-2's vocabulary, on one core."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from transformers import EsmTokenizer

    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.txt"
        vocabulary.write_text("\n".join(alphabet.TOKENS) + "\n")
        yield EsmTokenizer(str(vocabulary))


def _loader_step(dataset: Any, tokenizer: Any, job: Job) -> Step:
    from transformers import DataCollatorWithPadding

    torch.set_num_threads(1)
    loader = DataLoader(
        dataset, batch_size=job.batch_size, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer), num_workers=0
    )

    def step(number: int) -> None:
        for _ in loader:
            pass

    return step
