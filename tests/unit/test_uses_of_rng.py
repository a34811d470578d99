"""Training, validation, evaluation and generation with the same seed share no number."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from d2plm_megatron import rng
from d2plm_megatron.config import Data, FlowMatching, MaskedLM, Model, Objective, Parallel, Recipe, Train, Validation
from d2plm_megatron.data.loader import global_batches
from d2plm_megatron.data.stream import Position
from d2plm_megatron.evaluation.config import EvaluationConfig
from d2plm_megatron.evaluation.evaluate import evaluate
from d2plm_megatron.generation.generate import generate
from d2plm_megatron.generation.request import Request
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.rng import Stream
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.sampling.options import Exact
from d2plm_megatron.training.trainer import Trainer


class Record:
    """All numbers that are drawn, by what is done meanwhile and by stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers: dict[tuple[str, Stream], list[Tensor]] = defaultdict(list)
        self._doing = ""
        hashed = rng._hash

        def recorded(seed: int, stream: Stream, *keys: int | Tensor) -> int | Tensor:
            drawn = hashed(seed, stream, *keys)
            if self._doing and keys:  # else it is a seed
                _, *places = keys  # after the epoch
                has_padding = len(places) == 2 and isinstance(places[0], Tensor)  # sample ids, -1 there, and positions
                numbers = torch.as_tensor(drawn)
                self.numbers[self._doing, stream].append(numbers[places[0] >= 0] if has_padding else numbers.flatten())
            return drawn

        monkeypatch.setattr(rng, "_hash", recorded)

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        self._doing = what
        yield
        self._doing = ""

    def uses(self) -> dict[tuple[str, Stream], Tensor]:
        return {use: torch.cat(drawn) for use, drawn in self.numbers.items()}


@pytest.mark.parametrize(
    ("objective", "streams"),
    [
        (FlowMatching(source="uniform"), {Stream.TIME, Stream.CORRUPT, Stream.REPLACE}),
        (MaskedLM(), {Stream.CHOICE, Stream.OUTCOME, Stream.REPLACE}),
    ],
    ids=["fm-uniform", "mlm"],
)
def test_no_two_uses_draw_the_same_number(
    objective: Objective,
    streams: set[Stream],
    write_proteins: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same proteins are trained on, validated and evaluated, so that nothing but the noise keeps them apart."""
    prefix, record = str(write_proteins([30 + 9 * i % 80 for i in range(40)])), Record(monkeypatch)
    recipe = Recipe(
        output=str(tmp_path),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64,
                    time_conditioning=isinstance(objective, FlowMatching)),
        objective=objective,
        data=Data(train=prefix, validation=prefix, max_length_residues=60, tokens_per_pack=1500),
        train=Train(max_steps=2, precision="fp32", global_batch_tokens=3000, seed=0),
        validation=Validation(every_steps=2),
    )  # fmt: skip
    with parallel_context(Parallel()) as processes:
        trainer = Trainer.of(recipe, processes)
        with record.of("training"):
            trainer._step(next(global_batches(trainer.stream, Position(), 2, 0, 1)))
        with record.of("validation"):
            trainer._validate()
        trainer.fit()
    folder = RunFolder(tmp_path / recipe.name)
    [newest, *_] = folder.newest_first()
    with TrainedModel.open(newest) as model:
        with record.of("evaluation"):
            evaluate(model, prefix, EvaluationConfig(num_draws=2, max_proteins=39))
        with record.of("generation"):
            request = Request(checkpoint=model.checkpoint, num_sequences=5, length="20:40", steps=6, sampler=Exact())
            generate(model, request, tmp_path / "new.fasta")
    uses = record.uses()
    for doing, expected in {
        "training": streams | {Stream.ORDER, Stream.CROP, Stream.PACKS},
        "validation": streams | {Stream.TIME, Stream.CORRUPT},
        "evaluation": streams | {Stream.TIME, Stream.CORRUPT, Stream.ORDER},
        "generation": {Stream.LENGTH, Stream.RESIDUE},
    }.items():
        assert expected <= {stream for done, stream in uses if done == doing}
    for (use, numbers), (other, more) in combinations(uses.items(), 2):
        assert not torch.isin(numbers, more).any(), (use, other)
    for (doing, stream), numbers in uses.items():
        if stream not in (Stream.ORDER, Stream.TIME):  # every place, and every pack, looks up the same
            assert len(numbers.unique()) == len(numbers), (doing, stream)


def test_every_stream_is_used() -> None:
    root = Path(__file__).parents[2] / "d2plm_megatron"
    source = "".join(path.read_text(encoding="utf-8") for path in root.rglob("*.py"))
    assert [stream.name for stream in Stream if f"Stream.{stream.name}" not in source] == []
