"""Whole proteins, the same from letters and from datasets, cut ones or not, for all that asks for proteins."""

import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron import console
from d2plm_megatron.config import Data
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.data.whole import is_fasta, read_whole, whole_lengths
from d2plm_megatron.evaluation.held_out import read_held_out
from d2plm_megatron.evaluation.samples.panel import build_panel
from d2plm_megatron.generation.exclusion import read_known
from d2plm_megatron.generation.lengths import read_lengths
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.fasta import write_fasta
from data_tools.prepare import main as prepare


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """The prefix of proteins that were cut into chunks of 40 residues at most, and the letters of the whole ones."""
    rng = random.Random(3)
    letters = ["".join(rng.choices(alphabet.CANONICAL_LETTERS, k=rng.randint(1, 130))) for _ in range(40)]
    write_fasta(tmp_path / "x.fasta", ((f"p{number}", protein) for number, protein in enumerate(letters)))
    options = ["--workers", "1", "--no-homology", "--validation", "0.1", "--long", "split", "--max-length", "40"]
    given = ["--input", str(tmp_path / "x.fasta"), "--output", str(tmp_path / "out"), *options]
    monkeypatch.setattr(sys, "argv", ["prepare", *given])
    with pytest.raises(SystemExit, match="0"):
        console.run(prepare)
    prefix = str(tmp_path / "out" / "train")
    whole = [protein.sequence for protein in read_whole(prefix)]
    assert len(IndexedProteins(prefix)) > len(whole) > 20 and set(whole) < set(letters)
    assert whole == [protein for protein in letters if protein in set(whole)]
    return prefix, whole


def test_proteins_that_were_cut_are_whole_for_all_that_ask(cut: tuple[str, list[str]], tmp_path: Path) -> None:
    prefix, whole = cut
    write_fasta(tmp_path / "whole.fasta", ((str(number), protein) for number, protein in enumerate(whole)))
    for named in (prefix, str(tmp_path / "whole.fasta")):
        held_out = read_held_out(named, window=100, tokens_per_pack=200)
        assert (held_out.sequences, held_out.ids) == (tuple(whole), tuple(map(str, range(len(whole)))))
        panel = build_panel(tmp_path / "whole.fasta", named)
        assert sorted(protein.sequence for protein in (*panel.natural, *panel.rest)) == sorted(whole)
        lengths = read_lengths(f"like:{named}", Data())
        grid = [(n + 0.5) / len(whole) for n in range(len(whole))]
        assert Counter(map(lengths.drawn, grid)) == Counter(map(len, whole))
        assert whole_lengths(named).tolist() == list(map(len, whole))
        known = read_known([named], Data())
        assert len(known.digests) == len(set(whole)) and all(protein in known for protein in whole)


def test_only_what_is_chosen_is_read(cut: tuple[str, list[str]], tmp_path: Path) -> None:
    prefix, whole = cut
    odd = [*whole[:2], "M?", *whole[3:]]
    (tmp_path / "odd.fasta").write_text("".join(f">{number}\n{letters}*\n" for number, letters in enumerate(odd)))
    for named in (prefix, tmp_path / "odd.fasta"):
        found = list(read_whole(named, lambda number: [1, 5, number - 1]))
        assert [protein.name for protein in found] == ["1", "5", str(len(whole) - 1)]
        assert [protein.sequence for protein in found] == [whole[place] for place in (1, 5, -1)]
    with pytest.raises(ValueError, match=r"odd\.fasta, record 2: '\?' at position 2 is no residue"):
        list(read_whole(tmp_path / "odd.fasta"))


def test_ids_that_are_no_residues_are_told_with_their_place(tmp_path: Path) -> None:
    with IndexedWriter(tmp_path / "bad") as writer:
        writer.add(alphabet.encode("MKTV"))
        writer.add(np.array([*alphabet.encode("MK"), alphabet.MASK], dtype=np.uint8), continues=True)
    with pytest.raises(ValueError, match=r"bad\.bin: protein 1, position 3: id 32 \(<mask>\) is no residue"):
        list(read_whole(tmp_path / "bad"))


def test_the_files_of_a_dataset_are_no_fasta(cut: tuple[str, list[str]], tmp_path: Path) -> None:
    prefix, _ = cut
    assert not any(map(is_fasta, (prefix, f"{prefix}.bin", f"{prefix}.idx", "MKTV" * 1000)))
    assert is_fasta(tmp_path / "x.fasta")
