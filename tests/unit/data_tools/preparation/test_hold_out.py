import random

from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.proteins.alphabet import decode
from d2plm_megatron.proteins.fasta import write_fasta
from data_tools.preparation.hold_out import is_held_out
from data_tools.prepare import main
from data_tools.simulate import simulate


def test_what_is_held_out_depends_on_the_sequence_alone_and_fractions_are_nested():
    rng = random.Random(1)
    sequences = ["".join(rng.choices("ACDE", k=20)) for _ in range(500)]
    small, large = ({s for s in sequences if is_held_out(s, fraction)} for fraction in (0.1, 0.3))
    assert small < large < set(sequences)
    assert not any(is_held_out(sequence, 0.0) for sequence in sequences)
    # Written down once: another hash would move proteins from training to validation in data that exist.
    assert (
        "".join("01"[is_held_out(sequence, 0.5)] for sequence in sequences[:32]) == "00000101001010100010101000001011"
    )


def test_the_families_of_the_demo_are_split_by_their_sequences_without_mmseqs(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    sequences = [protein.sequence for protein in simulate(600, 0.9, 0)]
    write_fasta(tmp_path / "x.fasta", ((f"p{number}", sequence) for number, sequence in enumerate(sequences)))
    words = ("--input", tmp_path / "x.fasta", "--output", tmp_path, "--validation", 0.1, "--no-homology")
    code, out, _ = command(main, *words, "--workers", 1)
    unique = list(dict.fromkeys(sequences))
    for name, wanted in (("train", False), ("validation", True)):
        proteins = IndexedProteins(tmp_path / name)
        found = [decode(proteins[number]) for number in range(len(proteins))]
        assert found == [sequence for sequence in unique if is_held_out(sequence, 0.1) == wanted]
    assert code == 0
    assert "10% held out by a hash of the sequence; relatives of validation stay in training" in out
