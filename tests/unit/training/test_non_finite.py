"""Steps with numbers that are not finite: skipped, counted, and in the end explained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Data, MaskedLM, Model, Recipe, Train
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.non_finite import broken_proteins, describe
from d2plm_megatron.training.trainer import Trainer

RECIPE = Recipe(
    model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64),
    objective=MaskedLM(),
    data=Data(max_length_residues=40, tokens_per_pack=64),
    train=Train(precision="fp32", global_batch_tokens=128, max_skipped_steps=3, async_save=False),
)
TRYPTOPHAN = alphabet.TOKENS.index("W")


def break_embedding(engine: Engine, token: int) -> None:
    """Proteins with this token then have logits that are not finite."""
    with torch.no_grad():
        engine.encoder.embedding.word_embeddings.weight[token] = torch.nan


def without(token: int, pack: TokenBatch) -> TokenBatch:
    return replace(pack, tokens_T=torch.where(pack.tokens_T == token, alphabet.FIRST_CANONICAL, pack.tokens_T))


def test_proteins_with_the_broken_residue_are_found(
    one_process: Processes, make_pack: Callable[..., TokenBatch]
) -> None:
    engine = Engine(RECIPE, one_process)
    break_embedding(engine, TRYPTOPHAN)
    pack = without(TRYPTOPHAN, make_pack([20, 30, 25], first_sample=7))
    pack.tokens_T[25] = TRYPTOPHAN  # in the second protein
    packs = [pack, without(TRYPTOPHAN, make_pack([40], first_sample=90))]
    fill = build(replace(RECIPE.objective, mask_fraction=0.0, random_fraction=0.0))
    assert broken_proteins(engine.wrapped, fill, packs, one_process.device, seed=0) == [8]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ([], "it is the loss or the gradient that overflows"),
        (["number 3 of a", "number 4 of b"], "of 2 of 9 proteins are not finite: number 3 of a, number 4 of b"),
        (list("abcdefghi"), "of all 9 proteins are not finite, so it is the weights"),
    ],
)
def test_description(broken: list[str], words: str) -> None:
    assert words in describe(broken, 9)


def test_run_stops_after_so_many_skipped_steps(
    one_process: Processes, write_proteins: Callable[..., Path], tmp_path: Path
) -> None:
    data = write_proteins([40] * 30)
    recipe = replace(RECIPE, output=str(tmp_path), data=replace(RECIPE.data, train=str(data)))
    trainer = Trainer.of(recipe, one_process)
    with torch.no_grad():
        for weight in trainer.engine.masters.weights:
            weight.fill_(torch.nan)
    before = trainer.engine.ema.num_updates
    with pytest.raises(ValueError, match=r"max_skipped_steps=3: as many steps in a row, up to step 3, .* the weights"):
        trainer.fit()
    assert (trainer.progress.num_updates, trainer.progress.skipped_in_a_row) == (0, 3)
    assert trainer.engine.ema.num_updates == before


def test_an_update_starts_the_count_anew(
    one_process: Processes, write_proteins: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_proteins([40] * 30)
    train = replace(RECIPE.train, max_steps=12)
    recipe = replace(RECIPE, output=str(tmp_path), train=train, data=replace(RECIPE.data, train=str(data)))
    trainer = Trainer.of(recipe, one_process)
    update, steps = trainer.engine.update, iter(range(12))
    monkeypatch.setattr(
        trainer.engine, "update", lambda loss, flags: update(loss if next(steps) % 3 == 2 else float("nan"), flags)
    )
    trainer.fit()
    assert trainer.progress.num_updates == trainer.engine.ema.num_updates == 4
    assert trainer.progress.skipped_in_a_row == 0
