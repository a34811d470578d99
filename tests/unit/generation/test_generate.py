"""From what is asked for to a FASTA file, as a user types it, on a run that was trained."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from d2plm_megatron.config import MODEL_SIZES, Data, Recipe
from d2plm_megatron.generation import __main__ as generation
from d2plm_megatron.generation.generate import generate
from d2plm_megatron.generation.request import Request
from d2plm_megatron.generation.unfinished import Unfinished
from d2plm_megatron.inference import model as inference
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.fasta import read_records
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder

LYS = "MKTVRQGLLAGVSERTIDPK"


def made(run: Path, output: Path, **options) -> list[tuple[str, str]]:
    """What the command writes with these options, as (header, letters)."""
    generation.main(run, output=output, **{"steps": 4, "num_sequences": 3, **options})
    assert [path.name for path in output.parent.glob(".*.unfinished*")] == []
    return list(read_records(output))


def test_header_tells_all_that_decides(run: Path, tmp_path: Path) -> None:
    records = made(run, tmp_path / "x.fasta", sampler=["sampler=p2", "sampler.eta=0.5"], length="9", seed=4)
    told = "checkpoint=tiny weights=ema seed=4 sampler=p2 sampler.eta=0.5 steps=4 temperature=1"
    assert [header for header, _ in records] == [f"generated_{n:06d} checkpoint_step=2 {told}" for n in (1, 2, 3)]
    assert {len(letters) for _, letters in records} == {9}


def test_each_template_is_filled(run: Path, tmp_path: Path) -> None:
    (tmp_path / "t.fasta").write_text(">lys\nMKT____vla??\n")
    records = made(run, tmp_path / "x.fasta", template=[str(tmp_path / "t.fasta"), "W#<mask>W"], num_sequences=2)
    assert [header.split()[-1] for header, _ in records] == ["template=lys"] * 2 + ["template=template_2"] * 2
    assert all(re.fullmatch("MKT....VLA..", letters) for _, letters in records[:2])
    assert all(re.fullmatch("W..W", letters) for _, letters in records[2:])


def test_motifs_are_where_the_header_says(run: Path, tmp_path: Path) -> None:
    (tmp_path / "m.fasta").write_text(f">lys\n{LYS}\n>bee\nGGSGGSWWYA\n")
    contigs = "2-6/A3-9,4/B2-8/0-3"
    records = made(run, tmp_path / "x.fasta", motif=tmp_path / "m.fasta", contigs=contigs, total_length="22:24")
    assert len({header.split("contig=")[1] for header, _ in records}) > 1
    for header, letters in records:
        assert 22 <= len(letters) <= 24
        (first, last), (second, end) = (place.split("-") for place in header.split("motif=")[1].split(","))
        assert (letters[int(first) - 1 : int(last)], letters[int(second) - 1 : int(end)]) == (LYS[2:9], "GSGGSWW")
        drawn = [part for part in re.split(r"contig=(\S+)", header)[1].split("/") if part.isdigit()]
        assert sum(map(int, drawn)) + 14 == len(letters)


def test_variants_tell_their_identity(run: Path, tmp_path: Path) -> None:
    (tmp_path / "s.fasta").write_text(f">lys\n{LYS * 3}\n")
    records = made(run, tmp_path / "x.fasta", start=tmp_path / "s.fasta", strength=0.4, forbid="K")
    for header, letters in records:
        same = sum(a == b for a, b in zip(letters, LYS * 3, strict=True)) / 60
        assert f"start=lys strength=0.4 identity={same:.3f}" in header
        assert 0.2 < same < 0.9
        assert "K" not in letters


def test_only_allowed_residues_are_found(run: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("position,allowed,forbidden\n*,,C\n2-4,AV,\n")
    records = made(run, tmp_path / "x.fasta", template=["C" + "_" * 30], residues=tmp_path / "t.csv", forbid="GW")
    for _, letters in records:
        assert letters[0] == "C"  # is given
        assert set(letters[1:4]) <= set("AV")
        assert not set(letters[4:]) & set("CGW")


def test_copies_are_drawn_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of peptides A_ nineteen are known, so that most draws are copies, in any pack the same."""
    left = "W"
    known = "".join(f">{letter}\nA{letter}\n" for letter in alphabet.CANONICAL_LETTERS if letter != left)
    (tmp_path / "known.fasta").write_text(known)
    options = {"template": ["A_"], "exclude": ["training", str(tmp_path / "known.fasta")], "seed": 2}
    records = made(run, tmp_path / "x.fasta", **options)
    assert {letters for _, letters in records} == {f"A{left}"}
    again = sum(int(header.rpartition("draws=")[2]) - 1 for header, _ in records if "draws=" in header)
    assert f"note: {again} proteins drawn again, as they were copies of excluded ones" in capsys.readouterr().err
    assert again > 3
    assert made(run, tmp_path / "y.fasta", tokens_per_pack=16, **options) == records
    (tmp_path / "known.fasta").write_text(known + f">last\nA{left}\n")
    with pytest.raises(ValueError, match=r"^protein 1: all of 100 draws are excluded"):
        made(run, tmp_path / "z.fasta", **options)


def test_ranked_by_perplexity(run: Path, tmp_path: Path) -> None:
    scored = made(run, tmp_path / "a.fasta", length="20", num_sequences=6, score=True)
    ranked = made(run, tmp_path / "b.fasta", length="20", num_sequences=6, rank=True)
    values = [float(header.rpartition("perplexity=")[2]) for header, _ in ranked]
    assert values == sorted(values) and sorted(scored) == sorted(ranked) != ranked
    with TrainedModel.open(run) as model:
        assert model.perplexity([letters for _, letters in ranked]) == pytest.approx(values, abs=1e-4)


def test_proteins_longer_than_a_pack_are_scored_as_an_evaluation_has_them(run: Path, tmp_path: Path) -> None:
    """In windows of what training has seen, 40 residues, each of which is a pack of its own."""
    ranked = made(run, tmp_path / "long.fasta", length="90", tokens_per_pack=32, rank=True, num_sequences=2, steps=2)
    with TrainedModel.open(run) as model:
        found = model.perplexity([letters for _, letters in ranked])
    assert [float(header.rpartition("perplexity=")[2]) for header, _ in ranked] == pytest.approx(found, abs=1e-4)


def test_python_gives_the_proteins_of_the_command(run: Path, tmp_path: Path) -> None:
    records = made(run, tmp_path / "x.fasta", length="5:30", tokens_per_pack=40, num_sequences=7)
    with TrainedModel.open(run) as model:
        assert model.generate(7, (5, 30), num_steps=4) == [letters for _, letters in records]


def test_what_was_killed_goes_on(run: Path, tmp_path: Path) -> None:
    """Killed for good while proteins are being written, the same command ends with the same file, to the byte."""
    options = {"length": "20:30", "num_sequences": 40, "steps": 60, "tokens_per_pack": 64, "score": True}
    whole = made(run, tmp_path / "whole.fasta", **options)
    typed = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not True]
    output = tmp_path / "killed.fasta"
    partial = Unfinished(output, {}).path
    command = [sys.executable, "-m", "d2plm_megatron.generation", str(run), *typed, "--score", f"--output={output}"]
    started = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while started.poll() is None and (not partial.exists() or partial.read_bytes().count(b"\n") < 12):
        time.sleep(0.002)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL and not output.exists()
    kept = partial.read_bytes()
    assert 12 <= kept.count(b"\n") < 80
    partial.write_bytes(kept + b">generated_cut off in the mid")
    with pytest.raises(ValueError, match=r"begun by another request \(steps was 60 and is 61\); repeat that one"):
        generation.main(run, output=output, **{**options, "steps": 61})
    assert made(run, output, **options) == whole
    assert output.read_bytes() == (tmp_path / "whole.fasta").read_bytes()
    assert output.read_bytes().startswith(kept[: kept.rindex(b">")])


def test_what_is_unfinished_is_not_generated_again(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(checkpoint=Checkpoint.open(run), length="20", num_sequences=6, steps=4, tokens_per_pack=44)
    place = Unfinished(tmp_path / "x.fasta", request.told())
    mine = [(f"generated_{n:06d} mine", "MKV") for n in range(1, 4)]
    with place.opened(0) as writer:
        writer.add(mine)
    with TrainedModel.open(run) as model:
        done = generate(model, request, place.output)
    assert done.sequences[:2] == ["MKV", "MKV"] and "MKV" not in done.sequences[2:]  # the third is of half a pack
    assert done.residues == 4 * 20


def test_outputs_are_not_lost(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.fasta"
    first = made(run, output, length="9")
    with pytest.raises(ValueError, match=r"x\.fasta: is there already; name another file, or give --overwrite"):
        made(run, output, length="8")
    place = Unfinished(output, {"of": "another request"})
    with place.opened(0) as writer:
        writer.add(first)
        with pytest.raises(ValueError, match="being written by another process"):
            made(run, output, length="8", overwrite=True)
    assert {len(letters) for _, letters in made(run, output, length="8", overwrite=True)} == {8}
    samples = RunFolder(run).samples
    samples.write_text("old")
    with pytest.raises(ValueError, match=r"samples\.fasta: is there already"):
        generation.main(run, num_sequences=1, length="7", steps=2)
    generation.main(run, num_sequences=1, length="7", steps=2, overwrite=True)
    assert len(next(read_records(samples))[1]) == 7
    samples.unlink()


@pytest.mark.parametrize(("longest", "said"), [(30, ""), (31, "note: 31 residues were asked for, and training saw")])
def test_lengths_beyond_the_training_are_taken_with_a_word(
    longest: int,
    said: str,
    write_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    recipe = Recipe(model=MODEL_SIZES["tiny"], data=Data(max_length_residues=30))
    checkpoint = Checkpoint.open(write_checkpoint(RunFolder(tmp_path / "run"), 1, recipe=recipe))
    monkeypatch.setattr(inference.encoders, "load_encoder", lambda *args: None)
    monkeypatch.setattr(TrainedModel, "logits", lambda model, noisy: torch.zeros(len(noisy.tokens_T), alphabet.SIZE))
    request = Request(checkpoint=checkpoint, num_sequences=3, length=f"20:{longest}", steps=4, tokens_per_pack=64)
    with TrainedModel.open(checkpoint) as model:
        found = generate(model, request, tmp_path / "out.fasta")
    assert len(found.sequences) == 3
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == bool(said)
