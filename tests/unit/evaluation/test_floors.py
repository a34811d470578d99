"""What n-grams of training proteins reach on held-out ones."""

import math
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.evaluation.floors import floors, floors_or_why_none
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.adapted import AdaptedNGrams
from d2plm_megatron.proteins.ngrams import NGrams

HELD_OUT = ["MKTLLAGXX", "LAGLAGMKTLLA", "WYV"]


def written(prefix: Path, seed: int, number: int = 60) -> str:
    rng = np.random.default_rng(seed)
    with IndexedWriter(prefix) as writer:
        for _ in range(number):
            writer.add(alphabet.encode("M" + "".join(rng.choice(list("LAGKT"), int(rng.integers(5, 40))))))
    return str(prefix)


def test_each_order_is_measured_over_all_residues(tmp_path: Path) -> None:
    train = written(tmp_path / "train", 0)
    found = floors(train, HELD_OUT, order=3)
    adapted = ["1-gram and composition", "3-gram and composition"]
    assert list(found.by_name) == ["1-gram", "2-gram", "3-gram", *adapted]
    proteins = list(IndexedProteins(train))
    for order, floor in enumerate(list(found.by_name.values())[:3], start=1):
        model = NGrams.fit(proteins, order)
        nats = sum(model.nats(alphabet.encode(sequence)).sum() for sequence in HELD_OUT)
        assert floor.perplexity == pytest.approx(math.exp(nats / (7 + 12 + 3)))
        assert floor.error_of_draws is None and floor.error_of_proteins > 0
    of_all = AdaptedNGrams.fit(proteins, NGrams.fit(proteins, 3))
    for order, name in zip((1, 3), adapted, strict=True):
        expected = [of_all.nats_of_orders(alphabet.encode(sequence))[order - 1].sum() for sequence in HELD_OUT]
        assert found.by_name[name].nats[:, 0].tolist() == pytest.approx(expected)
    assert found.best == min(found.by_name, key=lambda name: found.by_name[name].perplexity)
    assert found.about() == {"train": train, "proteins": 60, "residues": sum(map(len, proteins))}


def test_a_sample_of_many_residues_and_shares_of_corpora(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one", 1), written(tmp_path / "two", 2)
    every_second = floors(one, HELD_OUT, order=2, max_residues=len(IndexedProteins(one).residues) // 2 + 1)
    assert every_second.proteins == 30
    expected = NGrams.fit(list(IndexedProteins(one))[::2], 2)
    nats = [[expected.nats(alphabet.encode(sequence)).sum()] for sequence in HELD_OUT]
    assert every_second.by_name["2-gram"].nats.tolist() == nats
    both = floors(f"{one}:3 {two}:1", HELD_OUT, order=1, max_residues=2 * len(IndexedProteins(two).residues))
    assert both.proteins == 60 + 30


def test_why_there_are_none(tmp_path: Path) -> None:
    missing = str(tmp_path / "gone")
    assert floors_or_why_none(None, None, HELD_OUT) == "the run names no training data"
    assert f"{missing}.bin is missing" in floors_or_why_none(None, missing, HELD_OUT)
    with pytest.raises(OSError, match=r"gone[.]bin is missing"):
        floors_or_why_none(missing, None, HELD_OUT)
    assert floors_or_why_none(written(tmp_path / "train", 0), missing, HELD_OUT).proteins == 60
