import math
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.indexed_writer import IndexedWriter
from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, encode
from d2plm_megatron.proteins.fasta import read_fasta
from data_tools.inspect_indexed import length_quantiles, main
from data_tools.simulation import ngrams
from data_tools.simulation.ngrams import entropies, ngram_counts


def dataset(folder: Path, sequences: list[str]) -> Path:
    with IndexedWriter(folder / "x") as writer:
        for sequence in sequences:
            writer.add(encode(sequence))
    return folder / "x"


def test_prints_what_the_dataset_holds(command, tmp_path):
    prefix = dataset(tmp_path, [CANONICAL_LETTERS, "L" * 70, "X"])
    code, out, _ = command(main, prefix, "--first", 2)
    assert code == 0
    assert "whole; 3 proteins, 91 residues (with the checksums beside it)" in out
    assert ["│", "L", "│", "71", "│", "78.022%", "│"] in [line.split() for line in out.splitlines()]
    assert f"0  {CANONICAL_LETTERS}\n1  {'L' * 60}... (70 residues)\n" in out
    p = np.array([71, *[1] * 19]) / 90
    entropy = -(p * np.log(p)).sum()
    assert f"entropy {entropy:.4f} nats per residue, perplexity {math.exp(entropy):.2f} " in out


def test_data_of_others_have_no_checksums(command, tmp_path):
    prefix = dataset(tmp_path, ["MKT"])
    Path(f"{prefix}.checksums.json").unlink()
    assert "whole; 1 proteins, 3 residues (no checksums beside it)" in command(main, prefix)[1]


@pytest.mark.parametrize("option", ["--fasta", "--plot"])
def test_writes_over_nothing_that_it_reads(refused, tmp_path, option):
    prefix = dataset(tmp_path, ["MKT"])
    (tmp_path / "link").symlink_to(f"{prefix}.bin")
    assert "read or written by this command" in refused(main, prefix, option, tmp_path / "link")
    assert "is a directory" in refused(main, prefix, option, tmp_path)


def test_exports_fasta(command, tmp_path):
    prefix = dataset(tmp_path, ["MKT", "XBUZO" * 30])
    assert command(main, prefix, "--fasta", tmp_path / "y.fasta")[0] == 0
    assert list(read_fasta(tmp_path / "y.fasta")) == [("protein_0", "MKT"), ("protein_1", "XBUZO" * 30)]


def test_chunks_of_one_protein(command, tmp_path):
    with IndexedWriter(tmp_path / "x") as writer:
        for part, continues in (("MKT", False), ("GG", True), ("AV", False)):
            writer.add(encode(part), continues=continues)
    code, out, _ = command(main, tmp_path / "x")
    assert code == 0
    assert "whole; 2 proteins in 3 chunks, 7 residues" in out
    (tmp_path / "x.bin").write_bytes(b"")
    assert command(main, tmp_path / "x")[0] == 2


@pytest.mark.parametrize(
    ("ending", "change", "message"),
    [
        (".bin", lambda data: data[:-2], "2 are missing; convert the data again"),
        (".bin", lambda data: data[:1] + b"\x20" + data[2:], "protein 0, position 2: id 32 (<mask>) is no residue"),
        (".idx", lambda data: data[:17] + b"\x04" + data[18:], "holds int32"),
        (".idx", lambda data: data[:-1], "an index of 2 sequences in 2 documents has"),
        (".bin", lambda data: b"\x04" + data[1:], "x.bin is not what was written, as x.checksums.json says"),
        (".checksums.json", lambda data: data[:-9], "x.checksums.json is damaged; remove it"),
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
    assert length_quantiles(np.bincount(lengths)) == list(expected)


@given(st.lists(st.text("LAGX", min_size=1, max_size=12), min_size=1, max_size=8))
def test_entropies_are_those_of_the_ngrams_inside_proteins(sequences):
    with tempfile.TemporaryDirectory() as folder:
        found = entropies(ngram_counts(IndexedProteins(dataset(Path(folder), sequences))))
    for n, entropy in enumerate(found, start=1):
        grams = [s[i : i + n] for s in sequences for i in range(len(s) - n + 1) if "X" not in s[i : i + n]]
        counts = np.array(list(Counter(grams).values())) / max(1, len(grams))
        assert entropy == pytest.approx(-(counts * np.log(counts)).sum())


def test_ngrams_do_not_depend_on_how_much_is_counted_at_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("LAGVX"), size)) for size in rng.integers(1, 40, 50)]
    proteins = IndexedProteins(dataset(tmp_path, sequences))
    whole = ngram_counts(proteins)
    monkeypatch.setattr(ngrams, "_RESIDUES_AT_ONCE", 30)
    assert all((a == b).all() for a, b in zip(whole, ngram_counts(proteins), strict=True))


def test_draws(command, tmp_path):
    assert command(main, dataset(tmp_path, ["MKT", "GG"]), "--plot", tmp_path / "x.png")[0] == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
