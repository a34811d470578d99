import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.alphabet import CANONICAL, CANONICAL_LETTERS, SIZE, encode
from d2plm_megatron.data.indexed import IndexedWriter
from data_tools.fasta import read_fasta
from data_tools.inspect_indexed import length_quantiles, main, unigram_entropy


def dataset(folder: Path, sequences: list[str]) -> Path:
    with IndexedWriter(folder / "x") as writer:
        for sequence in sequences:
            writer.add(encode(sequence))
    return folder / "x"


def test_prints_what_the_dataset_holds(command, tmp_path):
    prefix = dataset(tmp_path, [CANONICAL_LETTERS, "L" * 70, "X"])
    code, out, _ = command(main, prefix, "--first", 2)
    assert code == 0
    assert "whole; 3 proteins, 91 residues" in out
    assert ["│", "L", "│", "71", "│", "78.022%", "│"] in [line.split() for line in out.splitlines()]
    assert f"0  {CANONICAL_LETTERS}\n1  {'L' * 60}... (70 residues)\n" in out
    p = np.array([71, *[1] * 19]) / 90
    entropy = -(p * np.log(p)).sum()
    assert f"entropy {entropy:.4f} nats per residue, perplexity {math.exp(entropy):.2f} " in out


def test_exports_fasta(command, tmp_path):
    prefix = dataset(tmp_path, ["MKT", "XBUZO" * 30])
    assert command(main, prefix, "--fasta", tmp_path / "y.fasta")[0] == 0
    assert list(read_fasta(tmp_path / "y.fasta")) == [("protein_0", "MKT"), ("protein_1", "XBUZO" * 30)]


@pytest.mark.parametrize(
    ("ending", "change", "message"),
    [
        (".bin", lambda data: data[:-2], "2 are missing; convert the data again"),
        (".bin", lambda data: data[:1] + b"\x20" + data[2:], "protein 0, position 2: id 32 (<mask>) is no residue"),
        (".idx", lambda data: data[:17] + b"\x04" + data[18:], "holds int32"),
        (".idx", lambda data: data[:-1], "an index of 2 sequences in 2 documents has"),
    ],
)
def test_refuses_damage_and_exports_nothing(refused, tmp_path, ending, change, message):
    path = Path(f"{dataset(tmp_path, ['MKT', 'GG'])}{ending}")
    path.write_bytes(change(path.read_bytes()))
    assert message in refused(main, tmp_path / "x", "--fasta", tmp_path / "y.fasta")


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_length_quantiles_are_those_of_the_inverse_distribution(lengths):
    quantiles = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
    expected = np.quantile(lengths, quantiles, method="inverted_cdf")
    assert length_quantiles(np.array(lengths, dtype=np.int32)) == list(expected)


def test_entropy_counts_canonical_residues_only():
    counts = np.zeros(SIZE, dtype=np.int64)
    counts[CANONICAL] = 5
    counts[CANONICAL.stop :] = 1000
    assert unigram_entropy(counts) == pytest.approx(math.log(20))
    counts[CANONICAL] = 0
    counts[CANONICAL.start] = 7
    assert unigram_entropy(counts) == 0
