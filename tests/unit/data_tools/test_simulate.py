import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.fasta import read_fasta
from data_tools.formats.inputs import read_proteins
from data_tools.preparation.cleaning import Tally
from data_tools.simulate import main, read_ancestors

MOTIFS = {  # length of the sequence in ancestors.fasta, and what textbooks know: position (from 1) and residues there
    "UBC_HUMAN": (76, {48: "K", 63: "K", 72: "RLRGG"}),
    "LYSC_CHICK": (129, {35: "E", 52: "D", 6: "C", 127: "C"}),  # catalytic; disulphide bridge
    "GFP_AEQVI": (238, {65: "SYG", 96: "R", 222: "E"}),  # chromophore and its catalysts
    "MYG_PHYMC": (154, {1: "M", 65: "H", 94: "H"}),  # distal and proximal, E7 and F8 (64 and 93 without Met)
    "INS_HUMAN": (110, {25: "FVNQHLCGSHLVEALYLVCGERGFFYTPKT", 90: "GIVEQCCTSICSLYQLENYCN"}),  # chains B and A
    "CYC_HUMAN": (105, {15: "CSQCH", 81: "M"}),  # haem
    "RNAS1_BOVIN": (124, {12: "H", 41: "K", 119: "H"}),  # catalytic
    "CALM1_HUMAN": (149, {21: "DKDGDGTITTKE", 57: "DADGNGTIDFPE", 94: "DKDGNGYISAAE", 130: "DIDGDGQVNYEE"}),
    "THIO_HUMAN": (105, {32: "CGPC"}),
    "DYR_ECOLI": (159, {5: "I", 20: "M", 22: "W", 27: "D", 31: "F"}),  # around the substrate
    "FKB1A_HUMAN": (108, {27: "Y", 38: "D", 60: "W", 83: "Y"}),  # binding of FK506 (26, 37, 59, 82 without Met)
    "SODC_HUMAN": (154, {5: "A", 47: "H", 49: "H", 64: "H", 72: "H", 81: "H", 84: "D", 121: "H"}),  # copper and zinc
    "SUMO1_HUMAN": (101, {96: "GG"}),
}


def simulated(command, folder: Path, name: str, *arguments: object) -> Path:
    assert command(main, "--output", folder / name, *arguments)[0] == 0
    return folder / name


def test_ancestors_are_the_well_known_proteins():
    ancestors = read_ancestors()
    assert list(ancestors) == list(MOTIFS)
    for name, (length, motifs) in MOTIFS.items():
        assert len(ancestors[name]) == length
        assert set(ancestors[name]) <= set(CANONICAL_LETTERS)
        for position, residues in motifs.items():
            assert ancestors[name][position - 1 :].startswith(residues), (name, position)


def test_the_seed_decides_the_bytes(command, tmp_path):
    runs = [("a", 0), ("b", 0), ("c", 1)]
    paths = [simulated(command, tmp_path, name, "--proteins", 60, "--seed", seed) for name, seed in runs]
    first, again, other = (sha256(path.read_bytes()).hexdigest() for path in paths)
    assert first == again != other


def test_headers_tell_the_truth(command, tmp_path):
    path = simulated(command, tmp_path, "x.fasta", "--proteins", 203, "--mean-identity", 0.9, "--seed", 5)
    headers = [line for line in path.read_text().splitlines() if line.startswith(">")]
    parsed = [re.fullmatch(r">sim_(\d{6}) family=(\w+) identity=([01]\.\d\d)", header).groups() for header in headers]
    assert [int(number) for number, _, _ in parsed] == list(range(203))
    families = [family for _, family, _ in parsed]
    sizes = {family: families.count(family) for family in MOTIFS}
    assert sum(sizes.values()) == 203 and set(sizes.values()) == {15, 16}
    assert len(set(families[:30])) > 6  # mixed, not one family after the other
    ancestors = read_ancestors()
    for (_, family, identity), (_, sequence) in zip(parsed, read_fasta(path), strict=True):
        if len(sequence) == len(ancestors[family]):  # nearly always without insertions and deletions
            same = np.mean([a == b for a, b in zip(sequence, ancestors[family], strict=True)])
            assert same == pytest.approx(float(identity), abs=0.0051) or same < 0.8 * float(identity)
    assert np.mean([float(identity) for _, _, identity in parsed]) == pytest.approx(0.9, abs=0.03)


def test_the_corpus_passes_the_cleaning_policy_unchanged(command, tmp_path):
    path = simulated(command, tmp_path, "x.fasta", "--proteins", 5)
    tally = Tally()
    assert [sequence for _, sequence in read_proteins(path, tally)] == [sequence for _, sequence in read_fasta(path)]
    assert (tally.read, tally.kept, dict(tally.notes)) == (5, 5, {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--proteins", 0), "--proteins 0: expected 1 to 10,000,000"),
        (("--mean-identity", 1), "--mean-identity 1.0: expected 0.2 up to but not 1"),
        (("--mean-identity", 0.1), "--mean-identity 0.1: expected"),
        (("--mean-identity", "nan"), "--mean-identity nan: expected"),
        (("--seed", -1), "--seed -1: expected 0 or more"),
    ],
)
def test_refuses_bad_arguments(refused, tmp_path, arguments, message):
    assert message in refused(main, "--output", tmp_path / "x.fasta", *arguments)


def test_a_full_disk_leaves_nothing(refused, small_disk):
    line = refused(main, "--output", small_disk / "x.fasta", "--proteins", 900, folder=small_disk)
    assert "no space left on the device" in line
