"""In a step the host waits for the GPU once, and hands it nothing but the tokens: counted on one that is not there.

torch's device "meta" stands in for it. Its tensors hold no numbers, so that nothing can read one unseen, and to compute
with them and with those of the CPU at once is an error, as it is on a GPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import FakeWork
from torch.overrides import TorchFunctionMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import MODEL_SIZES, Absorbing, Data, FlowMatching, MaskedLM, Model, Parallel, Recipe, Train
from d2plm_megatron.model import attention
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.megatron import cuda_on_cpu
from d2plm_megatron.parallel.preemption import PreemptionHandler
from d2plm_megatron.parallel.processes import Processes, model_parallel
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.step import run_packs
from d2plm_megatron.training.trainer import Trainer

pytestmark = [pytest.mark.filterwarnings(f"ignore:::{module}") for module in ("megatron", "torch.distributed")]

GPU = torch.device("meta")
TENSORS_OF_A_PACK = 6
aten = torch.ops.aten

RECIPE = Recipe(
    model=Model(num_layers=2, hidden_size=64, num_attention_heads=4, ffn_hidden_size=128),
    data=Data(tokens_per_pack=128, max_length_residues=60),
    train=Train(precision="bf16", global_batch_tokens=256),
)
TIMED = replace(RECIPE.model, time_conditioning=True)
RANDOM = FlowMatching(source="uniform", loss="generalised_kl")
RECIPES = {
    "absorbing": replace(RECIPE, objective=Absorbing()),
    "fp32": replace(RECIPE, train=replace(RECIPE.train, precision="fp32")),
    "time": replace(RECIPE, model=TIMED, objective=RANDOM),
    "esm": replace(RECIPE, model=replace(MODEL_SIZES["esm2_8m"], num_layers=2), objective=MaskedLM()),
    "DP2": replace(RECIPE, parallel=Parallel(sharding="none")),
    "DP2+optimizer": replace(RECIPE, parallel=Parallel(sharding="optimizer")),
    "TP2": replace(RECIPE, parallel=Parallel(tensor=2)),
    "TP2+SP": replace(RECIPE, model=TIMED, objective=RANDOM, parallel=Parallel(tensor=2, sequence=True)),
    "PP2": replace(RECIPE, parallel=Parallel(pipeline=2)),
}


class Traffic(TorchDispatchMode):
    """Counts what goes between the host and the GPU. What is read there is a 1; collectives are done when called.

    Attributes:
        num_reads: numbers or tensors that the host has read, each of which it waits for.
        num_copies: tensors that were copied to the GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_reads = self.num_copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "c10d":
            work = FakeWork().boxed()
            return (args[0], work) if len(func._schema.returns) == 2 else work
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            self.num_reads += 1
            return 1.0 if args[0].is_floating_point() else 1
        if func is aten._to_copy.default and kwargs.get("device") is not None:
            if args[0].is_meta and torch.device(kwargs["device"]).type == "cpu":
                self.num_reads += 1
                return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
            if not args[0].is_meta and torch.device(kwargs["device"]) == GPU:
                assert kwargs.get("non_blocking"), "the host would wait for the copy"
                self.num_copies += 1
        assert not (func is aten.copy_.default and args[0].is_meta != args[1].is_meta), "a copy between devices"
        return func(*args, **kwargs)


class NoNumbersFromTheHost(TorchFunctionMode):
    """Refuses to make tensors of the GPU from Python's numbers, of which torch tells no dispatch mode."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        made = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None
        assert not (made and torch.device(kwargs["device"]).type in ("cuda", "meta")), f"{func.__name__} on the GPU"
        return func(*args, **kwargs)


@contextmanager
def on_a_gpu(parallel: Parallel) -> Iterator[tuple[Processes, Traffic]]:
    """The first process of a layout, alone with its GPU: the others answer at once, and with nothing."""
    new_group = dist.new_group
    world_size = 1 if parallel == Parallel() else 2

    def gather(gathered: list, mine: Any, group: Any = None) -> None:
        gathered[:] = [mine] * len(gathered)

    with (
        patch.object(cuda_on_cpu, "CPU", GPU),
        patch.object(attention, "flash_takes", lambda query: query.dtype != torch.float32),
        patch.object(dist, "all_gather_object", gather),
        patch.object(dist, "new_group", lambda *args, **kwargs: new_group(*args, **{**kwargs, "backend": "fake"})),
        cuda_on_cpu.megatron_on_cpu(),
    ):
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world_size)
        try:
            with model_parallel(parallel, GPU) as processes, Traffic() as traffic:
                yield processes, traffic
        finally:
            dist.destroy_process_group()


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_waits_once_and_hands_over_the_tokens_alone(name: str, make_pack: Callable[..., TokenBatch]) -> None:
    recipe, packs = RECIPES[name], [make_pack([40, 50, 38], seed) for seed in range(2)]
    with on_a_gpu(recipe.parallel) as (processes, traffic):
        engine, objective = Engine(recipe, processes), build(recipe.objective)
        assert all(weight.device == GPU for weight in (*engine.encoder.parameters(), *engine.masters.weights))
        for step in range(3):
            traffic.num_reads = traffic.num_copies = 0
            with NoNumbersFromTheHost():
                engine.prepare(step)
                sums = run_packs(engine.wrapped, objective, packs, GPU, seed=0, train=True)
                assert traffic.num_reads == 0
                engine.update(sums.loss, flags=[True, False])
            assert (traffic.num_reads, traffic.num_copies) == (1, TENSORS_OF_A_PACK * len(packs))


def test_the_loop_waits_once_more_when_it_reports(
    write_proteins: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(RECIPE.data, train=str(write_proteins([40] * 30)))
    train = replace(RECIPE.train, max_steps=6, log_every_steps=3)
    reads = []
    with on_a_gpu(RECIPE.parallel) as (processes, traffic):
        trainer = Trainer.of(replace(RECIPE, output=str(tmp_path), data=data, train=train), processes)
        prepare = trainer.engine.prepare
        monkeypatch.setattr(trainer.engine, "prepare", lambda step: (reads.append(traffic.num_reads), prepare(step)))
        monkeypatch.setattr(trainer, "_save", lambda is_best: reads.append(traffic.num_reads))
        monkeypatch.setattr(
            PreemptionHandler, "agree", lambda self, raised: None
        )  # what is read is a 1, that is: raised
        trainer.fit()
    assert [after - before for before, after in pairwise(reads)] == [1, 1, 2, 1, 1, 2]


@pytest.mark.parametrize("read", [float, int, bool, Tensor.item, Tensor.tolist, Tensor.cpu, lambda x: x.to("cpu")])
def test_every_read_is_seen(read: Callable[[Tensor], object]) -> None:
    with on_a_gpu(Parallel()) as (_, traffic):
        read(torch.zeros((), device="cuda"))
        assert traffic.num_reads == 1


@pytest.mark.parametrize(
    "hand_over",
    [
        lambda: torch.tensor(1.0, device="cuda"),
        lambda: torch.zeros(2, device="cuda").copy_(torch.ones(2)),
        lambda: torch.ones(2).to("cuda"),
        lambda: torch.zeros(2, device="cuda") + torch.ones(2),
        lambda: torch.zeros(2, device="cuda")[torch.zeros(2, device="cuda") > 0],
    ],
)
def test_everything_else_that_is_handed_over_is_seen(hand_over: Callable[[], object]) -> None:
    with on_a_gpu(Parallel()), NoNumbersFromTheHost(), pytest.raises((AssertionError, RuntimeError)):
        hand_over()
