"""Pseudo-likelihoods against a loop that masks one residue at a time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron import Recipe, TrainedModel, train
from d2plm_megatron.config import Data, FlowMatching, Model, Optimizer, Train
from d2plm_megatron.data.assembly import assemble_parts
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.pseudo import masked_once
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS

PROTEINS = ["MKTVRQGLLAGV", "LAXVSB", "XX", "M", "GGSGGSWWYC"]
ROUNDING = 2e-5
"""Of log-probabilities of the size of 1 in fp32, where matrix products have another size."""


def make(source: str, prefix: Path, folder: Path) -> TrainedModel:
    """A model that is told the time, so that a wrong time shows, too."""
    recipe = Recipe(
        name=source,
        output=str(folder),
        model=Model(num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64, time_conditioning=True),
        objective=FlowMatching(source=source, schedule="polynomial:2"),
        data=Data(train=str(prefix), max_length_residues=40, tokens_per_pack=512),
        optimizer=Optimizer(lr=1e-2, warmup_steps=1),
        train=Train(max_steps=8, precision="fp32", global_batch_tokens=512),
    )
    return TrainedModel.open(train(recipe))


def test_it_is_what_masking_one_residue_at_a_time_gives(write_proteins: Callable[..., Path], tmp_path: Path) -> None:
    with make("mask", write_proteins([40] * 30), tmp_path) as model:
        seen: list[int] = []
        proteins = [*map(alphabet.encode, PROTEINS)]
        found = masked_once(model, proteins, 40, tokens_per_pack=30, advance=seen.append)
        assert sum(seen) == 12 + 4 + 0 + 1 + 10 and len(seen) > 4
        assert [len(values) for values in found] == [12, 4, 0, 1, 10]
        for protein, values in zip(PROTEINS, found, strict=True):
            places = [place for place, letter in enumerate(protein) if letter in CANONICAL_LETTERS]
            for place, value in zip(places, values, strict=True):
                [log_probs] = model.log_probs([protein[:place] + "_" + protein[place + 1 :]])
                expected = log_probs[place, CANONICAL_LETTERS.index(protein[place])]
                assert value == pytest.approx(expected, abs=ROUNDING)
        in_one = masked_once(model, proteins, 40)
        assert np.allclose(np.concatenate(found), np.concatenate(in_one), atol=ROUNDING)
        assert masked_once(model, [], 40) == []


def test_of_a_long_protein_a_window_around_each_residue_is_seen(
    write_proteins: Callable[..., Path], tmp_path: Path
) -> None:
    """Also behind it, as far as the protein goes on; the ends of a window that cuts are no ends of the protein."""
    protein = "MKTVRQGLLAGVSERTIDPKQN"
    with make("mask", write_proteins([40] * 30), tmp_path) as model:
        [found] = masked_once(model, [alphabet.encode(protein)], 8, tokens_per_pack=25)
        for place in range(len(protein)):
            start = min(max(place - 4, 0), len(protein) - 8)
            seen = slice(start, start + 8)
            assert found[place] == pytest.approx(alone(model, protein, place, seen), abs=ROUNDING)


def alone(model: TrainedModel, protein: str, place: int, seen: slice) -> float:
    """The log probability of a residue of a window, masked in a pack of its own that is made by hand."""
    ids = alphabet.encode(protein).astype(np.int64)
    tokens = [*[alphabet.CLS] * (seen.start == 0), *ids[seen], *[alphabet.EOS] * (seen.stop == len(ids))]
    where = np.arange(len(tokens)) == place - seen.start + (seen.start == 0)
    pack = assemble_parts([(np.array(tokens), where)])
    masked = replace(pack, tokens_T=pack.tokens_T.masked_fill(pack.scored_T, alphabet.MASK))
    logits = model.logits(readouts.as_it_is(masked, model.path, None))[:, alphabet.CANONICAL].log_softmax(-1)
    return float(logits[where][0, CANONICAL_LETTERS.index(protein[place])])


def test_a_model_that_reads_no_masks_is_refused(write_proteins: Callable[..., Path], tmp_path: Path) -> None:
    with (
        make("uniform", write_proteins([40] * 30), tmp_path) as model,
        pytest.raises(ValueError, match="it reads no masks"),
    ):
        masked_once(model, [*map(alphabet.encode, PROTEINS)], 40)
