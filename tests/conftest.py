"""Fixtures that several rooms share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import random_proteins
from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Parallel
from d2plm_megatron.parallel.processes import Processes, parallel_context
from d2plm_megatron.proteins import alphabet


@pytest.fixture(scope="module", autouse=True)
def gpus_are_for_their_own_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that are not marked as such run on the CPU on any machine, and so do the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("gpu") is None:
            patch.setattr(torch.cuda, "is_available", lambda: False)
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture
def make_pack() -> Callable[..., TokenBatch]:
    """Packs of random proteins: make_pack([5, 7], seed=1) has two, of 5 and 7 tokens, all canonical residues."""

    def make(lengths: list[int], seed: int = 0, first_sample: int = 0) -> TokenBatch:
        generator = torch.Generator().manual_seed(seed)
        sequence_T = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        size = (sum(lengths),)
        return TokenBatch(
            tokens_T=torch.randint(alphabet.CANONICAL.start, alphabet.CANONICAL.stop, size, generator=generator),
            positions_T=torch.cat([torch.arange(length) for length in lengths]),
            sequence_T=sequence_T,
            scored_T=torch.ones(size, dtype=torch.bool),
            sample_ids_S=first_sample + torch.arange(len(lengths)),
            stream_index_S=first_sample + torch.arange(len(lengths)),
            lengths_S=tuple(lengths),
            epoch=0,
        )

    return make


@pytest.fixture
def write_proteins(tmp_path: Path) -> Callable[..., Path]:
    """Random proteins on disk: write_proteins(lengths) returns the prefix of PREFIX.bin and PREFIX.idx."""

    def write(lengths: list[int], seed: int = 0, name: str = "proteins") -> Path:
        return random_proteins.write_proteins(tmp_path / name, lengths, seed)

    return write


@pytest.fixture
def one_process() -> Iterator[Processes]:
    """Megatron in this process alone."""
    with parallel_context(Parallel()) as processes:
        yield processes
