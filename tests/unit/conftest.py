"""Fixtures for the mathematics: packs with known letters, and a distribution whose posterior is known exactly."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.checkpoint import tensors
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
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder

KINDS = {
    "absorbing": Absorbing(),
    "timed": FlowMatching(),
    "uniform": FlowMatching(source="uniform"),
    "bayes": FlowMatching(source="uniform", posterior="bayes"),
    "metric": MetricFlow(),
    "mlm": MaskedLM(),
    "all_masks": MaskedLM(mask_fraction=1.0, random_fraction=0.0),
}
"""Of tiny models, by name."""

# The same examples in every run, and no limit to the time of one, which a busy machine would exceed.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """What is computed here is small: threads would only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def no_crash_of_the_machine() -> Iterator[None]:
    """Thousands of small files are written here, none of which needs to outlive the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[[str, Path, Path], Recipe]:
    """tiny_recipe(kind, prefix, folder): a run of some steps, whose name is the kind of model."""

    def make(kind: str, prefix: Path, folder: Path) -> Recipe:
        return Recipe(
            name=kind,
            output=str(folder),
            model=Model(num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64,
                        time_conditioning=kind in ("timed", "uniform", "bayes", "metric")),
            objective=KINDS[kind],
            data=Data(train=str(prefix), max_length_residues=40, tokens_per_pack=256),
            optimizer=Optimizer(lr=1e-2, warmup_steps=1),
            ema=EMA(decay=0.5),
            train=Train(max_steps=12, precision="fp32", global_batch_tokens=256),
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Callable[..., Recipe]) -> Callable[[str], Path]:
    """Folders of runs of tiny models, by their kind, which are trained when they are asked for."""
    from benchmarks.random_proteins import write_proteins
    from d2plm_megatron.parallel.processes import parallel_context
    from d2plm_megatron.training.trainer import Trainer

    folder = tmp_path_factory.mktemp("trained")
    prefix = write_proteins(folder / "proteins", [40] * 60, 0)

    def train(kind: str) -> Path:
        if not (folder / kind).exists():
            with parallel_context() as processes:
                Trainer.of(tiny_recipe(kind, prefix, folder), processes).fit()
        return folder / kind

    return train


@pytest.fixture(scope="session")
def pack_of() -> Callable[..., TokenBatch]:
    """Packs of given proteins.

    pack_of("MKT", "LX", ends=True) has two, with <cls> and <eos>; only canonical residues are scored.
    """

    def make(*proteins: str, ends: bool = False, first_sample: int = 0) -> TokenBatch:
        inner = [alphabet.encode(protein).tolist() for protein in proteins]
        ids = [[alphabet.CLS, *residues, alphabet.EOS] if ends else residues for residues in inner]
        tokens_T = torch.tensor([token for protein in ids for token in protein], dtype=torch.int64)
        lengths = [len(protein) for protein in ids]
        samples_S = first_sample + torch.arange(len(ids))
        return TokenBatch(
            tokens_T=tokens_T,
            positions_T=torch.cat([torch.arange(length) for length in lengths]),
            sequence_T=torch.arange(len(ids)).repeat_interleave(torch.tensor(lengths)),
            scored_T=(tokens_T >= alphabet.CANONICAL.start) & (tokens_T < alphabet.CANONICAL.stop),
            sample_ids_S=samples_S,
            stream_index_S=samples_S,
            lengths_S=tuple(lengths),
            epoch=0,
        )

    return make


@pytest.fixture(scope="session")
def masked() -> Callable[..., NoisyBatch]:
    """Packs with given masks.

    masked(pack, [1, 2], 0.5) has them at places 1 and 2, which alone are predicted, and is at t = 0.5.
    """

    def make(pack: TokenBatch, places: Sequence[int], t: float) -> NoisyBatch:
        predicted_T = torch.zeros_like(pack.scored_T)
        predicted_T[list(places)] = True
        times_S = torch.full(pack.stream_index_S.shape, t, dtype=torch.float64)
        tokens_T = pack.tokens_T.masked_fill(predicted_T, alphabet.MASK)
        return NoisyBatch(clean=pack, tokens_T=tokens_T, times_S=times_S, predicted_T=predicted_T)

    return make


@dataclass(frozen=True)
class Pairs:
    """A distribution over proteins of two residues, each of the letters LAGV; calling it gives its exact posterior."""

    joint: Tensor
    letters: str = "LAGV"

    def proteins(self) -> list[str]:
        """All 16, in the order of `joint.flatten()`."""
        return [a + b for a in self.letters for b in self.letters]

    def __call__(self, noisy: NoisyBatch) -> Tensor:
        """Logits [1, T, V]: log p of each place given the other, where that is visible."""
        letters_P2 = noisy.tokens_T.view(-1, 2) - alphabet.FIRST_CANONICAL
        hidden_P2 = noisy.tokens_T.view(-1, 2) == alphabet.MASK
        seen_P2 = letters_P2.masked_fill(hidden_P2, 0)
        first_P4 = torch.where(hidden_P2[:, 1:], self.joint.sum(1), self.joint.T[seen_P2[:, 1]])
        second_P4 = torch.where(hidden_P2[:, :1], self.joint.sum(0), self.joint[seen_P2[:, 0]])
        logits_TV = torch.full((noisy.tokens_T.numel(), alphabet.SIZE), -1e4, dtype=torch.float64)
        start = alphabet.FIRST_CANONICAL
        logits_TV[:, start : start + 4] = torch.stack([first_P4, second_P4], 1).flatten(0, 1).log()
        return logits_TV[None]


@pytest.fixture(scope="session")
def pairs() -> Pairs:
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand(4, 4, generator=generator, dtype=torch.float64) ** 2 + 0.02
    return Pairs(weights / weights.sum())


@pytest.fixture
def write_checkpoint(one_process: Processes) -> Callable[..., Path]:
    """Complete checkpoints without training.

    write_checkpoint(run, 3, is_best=True) is that of step 3, of one small tensor; returns its folder.
    """

    def write(
        run: RunFolder,
        step: int,
        is_best: bool = False,
        keep_last: int = 2,
        recipe: Recipe = Recipe(),  # noqa: B008  (frozen)
        **counts: int,
    ) -> Path:
        folder = run.begin(step)
        values = torch.full((2, 3), float(step))
        files = tensors.save(folder, {"weights": [(tensors.whole_slice("layer", values), values)]})
        described = {"data": {}, "layout": {}, "versions": {"torch": "2.13.0"}, "date": "2026-11-21"}
        state = {"progress": progress(step, **counts), **described, "files": files}
        Checkpoint(folder, recipe, state).write()
        run.complete(step, is_best, keep_last)
        return run.checkpoints / f"step_{step:08d}"

    return write


def progress(step: int, num_proteins: int = 0, num_tokens: int = 0) -> dict[str, object]:
    seen = {"num_proteins": num_proteins, "num_tokens": num_tokens, "num_updates": step, "skipped_in_a_row": 0}
    position = {"epoch": 0, "window": 0, "pack": step}
    return {"step": step, "position": position, **seen, "best_loss": None, "validations_since_best": 0}
