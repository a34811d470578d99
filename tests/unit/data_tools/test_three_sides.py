"""prepare --test: a third side, which nothing on the other two resembles."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS
from d2plm_megatron.proteins.fasta import write_fasta
from data_tools.formats.proteins_lmdb import ProteinsLmdb
from data_tools.preparation import raw_blocks, stages
from data_tools.preparation.hold_out import TEST, TRAINING, VALIDATION, HoldOut, is_for_test, is_held_out
from data_tools.prepare import main

NAMES = {TRAINING: "train", VALIDATION: "validation", TEST: "test"}


def random_protein(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(CANONICAL_LETTERS, k=length))


def relative(rng: random.Random, sequence: str, identity: float) -> str:
    return "".join(letter if rng.random() < identity else rng.choice(CANONICAL_LETTERS) for letter in sequence)


def families(number: int) -> list[list[tuple[str, str]]]:
    """Families of one to four proteins of about 75% identity with the first, and less with each other."""
    rng, found = random.Random(5), []
    for family in range(number):
        first = random_protein(rng, rng.randint(90, 160))
        members = [first, *(relative(rng, first, 0.9) for _ in range(rng.randrange(4)))]
        found.append([(f"f{family}_{member}", sequence) for member, sequence in enumerate(members)])
    return found


def sides(folder: Path) -> dict[str, set[str]]:
    found = {}
    for path in folder.glob("*.lmdb"):
        with ProteinsLmdb(path) as proteins:
            found[path.stem] = {record.name for record in proteins}
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def words(tmp_path: Path, output: str, *more: object) -> tuple[object, ...]:
    return main, "--input", tmp_path / "x.fasta", "--output", tmp_path / output, "--workers", 1, *more


def expected(members: list[tuple[str, str]], hold_out: HoldOut) -> dict[str, str]:
    """Where each protein of a family ends: one that has a relative held out from it is removed."""
    own = {name: hold_out.side(name, sequence) for name, sequence in members}
    ends = dict.fromkeys((name for name, side in own.items() if TEST in own.values() and side != TEST), "removed")
    left = {name: side for name, side in own.items() if name not in ends}
    ends |= dict.fromkeys(
        (name for name, side in left.items() if VALIDATION in left.values() and side == TRAINING), "removed"
    )
    return ends | {name: NAMES[side] for name, side in own.items() if name not in ends}


@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")
def test_no_side_has_homologs_of_one_held_out_from_it_even_after_a_kill(command, tmp_path, monkeypatch):
    monkeypatch.setattr(raw_blocks, "_BLOCK_BYTES", 20_000)
    groups = families(120)
    write_fasta(tmp_path / "x.fasta", [record for members in groups for record in members])
    more = ("--validation", 0.2, "--test", 0.2, "--sensitivity", 1)
    assert command(*words(tmp_path, "out", *more))[0] == 0
    ends = {name: end for members in groups for name, end in expected(members, HoldOut(0.2, test=0.2)).items()}
    found = sides(tmp_path / "out")
    assert found == {side: {name for name, end in ends.items() if end == side} for side in NAMES.values()}
    said = json.loads((tmp_path / "out" / "manifest.json").read_text())
    removed = said["outcomes"]["homologs of validation"], said["outcomes"]["homologs of test"]
    assert min(removed) > 10 and sum(removed) == list(ends.values()).count("removed")
    assert said["outcomes"]["test"] == said["splits"]["test"]["proteins"] == len(found["test"])
    assert said["parameters"]["rules"]["hold_out"]["test"] == 0.2
    reasons = (tmp_path / "out" / "rejected.tsv").read_text()
    assert reasons.count("identical to test protein ") == removed[1]

    searched, find = [], stages.find_homologs

    def find_until_killed(hits: Path, *arguments: object) -> None:
        searched.append(hits.name)
        if len(searched) == 2:
            raise KeyboardInterrupt
        find(hits, *arguments)

    monkeypatch.setattr(stages, "find_homologs", find_until_killed)
    assert command(*words(tmp_path, "killed", *more))[0] == 130
    assert command(*words(tmp_path, "killed", *more))[0] == 0
    assert searched == ["hits-test-000000.npy", "hits-validation-000000.npy", "hits-validation-000000.npy"]
    assert contents(tmp_path / "killed") == contents(tmp_path / "out")


def test_the_test_side_takes_from_training_alone(command, tmp_path):
    rng = random.Random(0)
    records = [(f"p{number}", random_protein(rng, 40)) for number in range(400)]
    write_fasta(tmp_path / "x.fasta", records)
    more = ("--no-homology", "--validation", 0.1)
    assert command(*words(tmp_path, "two", *more))[0] == 0
    code, out, _ = command(*words(tmp_path, "three", *more, "--test", 0.05))
    assert code == 0 and "10% for validation and 5% for test held out by a hash of the sequence" in out
    two, three = sides(tmp_path / "two"), sides(tmp_path / "three")
    assert three["validation"] == two["validation"] and three["train"] | three["test"] == two["train"]
    assert three["test"] == {name for name, sequence in records if is_for_test(sequence, 0.05)}
    assert command(*words(tmp_path, "only", "--no-homology", "--validation", 0, "--test", 0.05))[0] == 0
    assert sides(tmp_path / "only") == {
        "train": two["train"] - three["test"] | two["validation"],
        "test": three["test"],
    }


def test_without_it_nothing_changes(command, tmp_path):
    """The sums were taken before there was a third side."""
    rng = random.Random(0)
    write_fasta(tmp_path / "x.fasta", [(f"p{number}", random_protein(rng, 40)) for number in range(200)])
    assert command(*words(tmp_path, "out", "--no-homology", "--validation", 0.1))[0] == 0
    found = contents(tmp_path / "out")
    sums = [hashlib.md5(found[name]).hexdigest() for name in ("train.bin", "train.idx", "validation.bin")]
    assert sums == [
        "caa3f8377910b493b6573fc5761d8e5f",
        "5c3cba0e351afa598448f029d12807f3",
        "92bdc43c449a2d52233e638e7512012e",
    ]
    assert sorted(found) == sorted([*json.loads(found["manifest.json"])["files"], "manifest.json"]) and len(found) == 11
    hold_out = json.loads(found["manifest.json"])["parameters"]["rules"]["hold_out"]
    assert hold_out == {"fraction": 0.1, "by": "sequence", "clusters": None}


@pytest.mark.parametrize("by_table", [True, False])
def test_no_cluster_is_on_two_sides(command, tmp_path, by_table):
    rng = random.Random(0)
    cluster = {f"p{number}": f"UniRef50_C{rng.randrange(60)}" for number in range(400)}
    header = (lambda name: name) if by_table else (lambda name: f"{name} {cluster[name]} n=3")
    write_fasta(tmp_path / "x.fasta", [(header(name), random_protein(rng, 40)) for name in cluster])
    (tmp_path / "table.tsv").write_text("".join(f"{own}\t{name}\n" for name, own in cluster.items()))
    more = ("--split-by", "cluster", *(["--clusters", tmp_path / "table.tsv"] if by_table else []))
    assert command(*words(tmp_path, "out", "--no-homology", "--validation", 0.2, "--test", 0.1, *more))[0] == 0
    hold_out = HoldOut(0.2, test=0.1)
    assert sides(tmp_path / "out") == {
        NAMES[side]: {name for name, own in cluster.items() if hold_out.side_of(own) == side} for side in NAMES
    }


def test_sides_are_disjoint_and_as_large_as_asked_for():
    rng = random.Random(0)
    hold_out = HoldOut(0.3, test=0.6)
    found = [hold_out.side("name", random_protein(rng, 12)) for _ in range(4_000)]
    for side, share in ((VALIDATION, 0.3), (TEST, 0.6), (TRAINING, 0.1)):
        assert found.count(side) / len(found) == pytest.approx(share, abs=0.025)
    assert not any(
        is_for_test(letter, 0.0) or (is_held_out(letter, 0.5) and is_for_test(letter, 0.5)) for letter in "AB"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--test", 0), "--test 0: expected more than 0 and less than 1, as 0.01 for 1%; leave it away for none"),
        (("--test", 1), "--test 1.0: expected more than 0"),
        (("--test", -0.1), "--test -0.1: expected more than 0"),
        (("--test", "nan"), "--test nan: expected more than 0"),
        (("--validation", 0.5, "--test", 0.5), "--validation 0.5 and --test 0.5 leave nothing to train on"),
        (("--test", 0.001), "--test 0.001: is less than one of 50 records; give --test 0.1, for about 5, or leave it"),
    ],
)
def test_refuses_shares_that_cannot_be(refused, tmp_path, more, message):
    rng = random.Random(0)
    write_fasta(tmp_path / "x.fasta", [(f"p{number}", random_protein(rng, 40)) for number in range(50)])
    assert message in refused(*words(tmp_path, "out", "--no-homology", *more))
