import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from megatron.core.datasets.indexed_dataset import IndexedDataset

from d2plm_megatron.proteins.alphabet import CANONICAL_LETTERS, decode
from data_tools.formats.lmdb_values import Layout
from data_tools.lmdb_to_indexed import convert
from data_tools.preparation import clean_blocks, outcomes, raw_blocks
from data_tools.preparation.chunks import chunk_bounds
from data_tools.preparation.hold_out import fraction_to_hold_out, is_held_out
from data_tools.prepare import main
from tests.prepared import arguments, contents, random_protein, random_records, rejected, side, write_records

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks, and many files of rows, from little data."""
    monkeypatch.setattr(raw_blocks, "_BLOCK_BYTES", 2_000)
    monkeypatch.setattr(raw_blocks, "_BLOCK_RECORDS", 70)
    monkeypatch.setattr(outcomes, "_ROWS_PER_FILE", 100)
    monkeypatch.setattr(outcomes, "_WINDOW", 128)


def test_every_record_has_one_outcome(command, tmp_path, small_blocks):
    records = random_records(500)
    bad = [("gap", "MK-T"), ("stop", "M*K"), ("empty", ""), ("digit", "M1"), ("short", "MKT"), ("long", "MKTV" * 80)]
    again = [(f"again{number}", sequence.lower() + "*") for number, (_, sequence) in enumerate(records[:50])]
    source = write_records(tmp_path / "x.fasta", records + bad + again)
    more = ("--min-length", 10, "--max-length", 300, "--long", "drop")
    assert command(*arguments(source, tmp_path / "out", *more))[0] == 0
    out = tmp_path / "out"
    train, validation = side(out, "train"), side(out, "validation")
    held_out = {name for name, sequence in records if is_held_out(sequence, 0.2)}
    assert [(r.name, r.sequence) for r in validation] == [r for r in records if r[0] in held_out]
    assert [(r.name, r.sequence) for r in train] == [r for r in records if r[0] not in held_out]
    expected = {"gap": "gap (- or .)", "stop": "stop (*) inside", "empty": "empty", "digit": "digit"}
    expected |= {"short": "too short", "long": "too long"} | {name: "duplicate" for name, _ in again}
    assert {name: reason for name, (_, reason) in rejected(out).items()} == expected
    assert rejected(out)["gap"][0] == "501" and rejected(out)["again49"][0] == "556"
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["outcomes"] == {
        "read": 556,
        "rejected": 6,
        "duplicates": 50,
        "train": len(train),
        "validation": len(validation),
    }
    assert sum(manifest["splits"]["train"]["length_histogram"]["proteins"]) == len(train)
    letters = "".join(record.sequence for record in train)
    composition = manifest["splits"]["train"]["composition"]
    assert {letter: letters.count(letter) for letter in CANONICAL_LETTERS}.items() <= composition.items()
    assert sorted(path.name for path in out.iterdir()) == sorted([*manifest["files"], "manifest.json"])
    assert (out / "histograms.png").read_bytes().startswith(b"\x89PNG")


def test_the_bytes_depend_on_nothing_but_input_and_parameters(command, tmp_path, small_blocks):
    records = random_records(400)
    source = write_records(tmp_path / "x.fasta", records + records[:30])
    assert command(*arguments(source, tmp_path / "one"))[0] == 0
    assert command(*arguments(source, tmp_path / "three", "--workers", 3))[0] == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert len(contents(tmp_path / "one")) == 11


def test_all_kinds_of_input_give_the_same_proteins(command, tmp_path, small_blocks):
    records = random_records(300)
    plain = write_records(tmp_path / "x.fasta", records)
    packed = tmp_path / "x.fasta.zst"
    whole = plain.read_bytes()
    packed.write_bytes(zstandard.compress(whole[:9000]) + zstandard.compress(whole[9000:]))
    parts = [write_records(tmp_path / f"{n}.fasta", records[n * 150 : n * 150 + 150]) for n in range(2)]
    assert command(*arguments(plain, tmp_path / "plain", "--validation", 0))[0] == 0
    sources = [(packed,), tuple(parts), (tmp_path / "plain" / "train.lmdb",)]
    for number, source in enumerate(sources):
        more = [word for path in source[1:] for word in ("--input", path)]
        assert command(*arguments(source[0], tmp_path / str(number), *more))[0] == 0
    outs = [contents(tmp_path / str(number)) for number in range(3)]
    for name in ("train.bin", "train.idx", "train.lmdb", "validation.bin", "validation.lmdb"):
        assert outs[0][name] == outs[1][name] == outs[2][name]


def test_long_proteins_become_chunks_with_true_ends_alone(command, tmp_path):
    rng = random.Random(3)
    records = [(f"p{number}", random_protein(rng, rng.randint(1, 330))) for number in range(60)]
    source = write_records(tmp_path / "x.fasta", records)
    assert command(*arguments(source, tmp_path / "out", "--long", "split", "--max-length", 100))[0] == 0
    out = tmp_path / "out"
    dataset = IndexedDataset(str(out / "train"))
    train = [(name, sequence) for name, sequence in records if not is_held_out(sequence, 0.2)]
    bounds = dataset.document_indices
    assert len(bounds) == len(train) + 1 and len(dataset) > len(train)
    stored = side(out, "train")
    for (name, sequence), start, stop in zip(train, bounds[:-1], bounds[1:], strict=True):
        chunks = [decode(dataset[index]) for index in range(start, stop)]
        assert "".join(chunks) == sequence
        assert max(map(len, chunks)) - min(map(len, chunks)) <= 1 and len(chunks) == -(-len(sequence) // 100)
        assert [record.sequence for record in stored[start:stop]] == chunks
        assert stored[start].name == (name if len(chunks) == 1 else f"{name}/1-{len(chunks[0])}")
        assert stored[stop - 1].name.endswith(f"-{len(sequence)}") or len(chunks) == 1
    convert(out / "train.lmdb", tmp_path / "again")
    assert (tmp_path / "again.bin").read_bytes() == (out / "train.bin").read_bytes()
    assert (tmp_path / "again.idx").read_bytes() == (out / "train.idx").read_bytes()


@given(st.integers(1, 5000), st.integers(1, 1200))
def test_chunks_are_balanced_and_as_few_as_can_be(length, max_length):
    lengths = np.diff(chunk_bounds(length, max_length))
    assert lengths.sum() == length and len(lengths) == -(-length // max_length)
    assert lengths.max() <= max_length and lengths.max() - lengths.min() <= 1


def test_no_cluster_is_in_both_splits_by_header(command, tmp_path):
    rng = random.Random(0)
    headers = [f"UniRef90_A{number} UniRef50_C{rng.randrange(60)} n=3" for number in range(400)]
    source = write_records(tmp_path / "x.fasta", [(header, random_protein(rng)) for header in headers])
    assert command(*arguments(source, tmp_path / "out", "--split-by", "cluster"))[0] == 0
    cluster = {header.split()[0]: header.split()[1] for header in headers}
    train, validation = ({cluster[r.name] for r in side(tmp_path / "out", name)} for name in ("train", "validation"))
    assert train and validation and not train & validation


def test_no_cluster_is_in_both_splits_by_table(command, tmp_path, small_blocks):
    rng = random.Random(0)
    records = random_records(400)
    cluster = {name: f"p{rng.randrange(60)}" for name, _ in records}
    table = tmp_path / "clusters.tsv"
    table.write_text("".join(f"{representative}\t{member}\n" for member, representative in cluster.items()))
    source = write_records(tmp_path / "x.fasta", records)
    more = ("--split-by", "cluster", "--clusters", table)
    assert command(*arguments(source, tmp_path / "out", *more))[0] == 0
    for name, wanted in (("train", False), ("validation", True)):
        members = {record.name for record in side(tmp_path / "out", name)}
        assert members == {member for member, own in cluster.items() if is_held_out(own, 0.2) == wanted}
    packed = tmp_path / "packed.tsv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert command(*arguments(source, tmp_path / "packed", *more[:-1], packed))[0] == 0
    assert contents(tmp_path / "packed")["train.lmdb"] == contents(tmp_path / "out")["train.lmdb"]
    whole = table.read_text()
    table.write_text(whole.replace("\tp77\n", "\tother\n"))
    code, _, err = command(*arguments(source, tmp_path / "other", *more))
    assert code == 2 and "protein p77 is in no cluster" in err
    table.write_text(whole)
    code, _, err = command(*arguments(source, tmp_path / "other", *more))
    assert code == 2 and f"{tmp_path / 'other' / '.work'}: begun with other clusters" in err
    table.write_text(whole + "p11\tp7\n")
    code, _, err = command(*arguments(source, tmp_path / "twice", *more))
    assert code == 2 and f"p7 is in two clusters, {cluster['p7']} and p11" in err
    table.write_text("p1,p2\n")
    code, _, err = command(*arguments(source, tmp_path / "third", *more))
    assert code == 2 and "line 1: expected a cluster and an id with a tab between" in err


def test_goes_on_after_a_kill(command, tmp_path, small_blocks, monkeypatch):
    records = random_records(30_000)
    source = write_records(tmp_path / "x.fasta", records)
    num_blocks, clean = len(list(raw_blocks.blocks_of(source, Layout()))), clean_blocks._clean
    assert command(*arguments(source, tmp_path / "whole"))[0] == 0
    code = (
        "from data_tools import prepare; from data_tools.preparation import raw_blocks; "
        "raw_blocks._BLOCK_BYTES = 2000; prepare.run(prepare.main)"
    )
    words = [str(word) for word in arguments(source, tmp_path / "killed")[1:]]
    process = subprocess.Popen([sys.executable, "-c", code, *words], cwd=REPOSITORY)
    blocks = tmp_path / "killed" / ".work" / "blocks"
    while process.poll() is None and len(list(blocks.glob("0*.npz")) if blocks.exists() else []) < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [".work"]
    done = {path: path.stat().st_mtime_ns for path in blocks.glob("0*.npz")}
    assert len(done) >= 20
    assert command(*arguments(source, tmp_path / "killed", "--min-length", 5))[0] == 2
    assert {path: path.stat().st_mtime_ns for path in done} == done
    anew = []
    monkeypatch.setattr(clean_blocks, "_clean", lambda *task: anew.append(task) or clean(*task))
    assert command(*arguments(source, tmp_path / "killed"))[0] == 0
    assert 0 < len(anew) == num_blocks - len(done)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("asked", "num_records", "fraction"),
    [
        (None, 60, 0.1),
        (None, 994, 0.1),
        (None, 9_006, 0.0111),
        (None, 20_000, 0.005),
        (0.3, 60, 0.3),
        (0.0, 3, 0.0),
        (1e-5, 20_000, 1e-5),
    ],
)
def test_the_fraction_to_hold_out_suits_few_records(asked, num_records, fraction):
    assert fraction_to_hold_out(asked, num_records) == fraction


def test_sixty_proteins_need_no_option(command, tmp_path):
    source = write_records(tmp_path / "x.fasta", random_records(60))
    words = ("--input", source, "--output", tmp_path / "out", "--no-homology", "--workers", 1)
    code, out, err = command(main, *words)
    assert (code, err) == (0, "")
    assert len(side(tmp_path / "out", "train")) + len(side(tmp_path / "out", "validation")) == 60
    assert "homologs" not in out


def test_windows_line_ends_change_nothing(command, tmp_path):
    source = write_records(tmp_path / "x.fasta", random_records(80))
    windows = tmp_path / "windows.fasta"
    windows.write_bytes(source.read_bytes().replace(b"\n", b"\r\n"))
    for path in (source, windows):
        assert command(*arguments(path, tmp_path / path.stem))[0] == 0
    assert contents(tmp_path / "x")["train.lmdb"] == contents(tmp_path / "windows")["train.lmdb"]


@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="needs MMseqs2")
def test_planted_homologs_are_removed_and_unrelated_proteins_kept(command, tmp_path):
    rng = random.Random(7)
    records = [(f"p{number}", random_protein(rng, rng.randint(80, 200))) for number in range(300)]
    held_out = [sequence for _, sequence in records if is_held_out(sequence, 0.2)]
    planted = []
    for number, sequence in enumerate(held_out):
        identity = 0.6 + 0.4 * number / len(held_out)
        sites = rng.sample(range(len(sequence)), round(len(sequence) * (1 - identity)))
        relative = "".join(_other(rng, letter) if place in sites else letter for place, letter in enumerate(sequence))
        if not is_held_out(relative, 0.2):
            planted.append((f"planted{number}", relative))
    source = write_records(tmp_path / "x.fasta", records + planted)
    code, _, err = command(main, "--input", source, "--output", tmp_path / "out", "--validation", 0.2, "--workers", 1)
    assert (code, err) == (0, "")
    train = {record.name for record in side(tmp_path / "out", "train")}
    unrelated = {name for name, sequence in records if not is_held_out(sequence, 0.2)}
    assert len(planted) > 30
    assert train == unrelated
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["outcomes"]["homologs of validation"] == len(planted)
    assert manifest["versions"]["mmseqs2"] and manifest["parameters"]["homology"]["min_sequence_identity"] == 0.5
    reasons = {name: reason for name, (_, reason) in rejected(tmp_path / "out").items()}
    assert reasons == {name: "homolog" for name, _ in planted}


def _other(rng: random.Random, letter: str) -> str:
    return rng.choice(CANONICAL_LETTERS.replace(letter, ""))
