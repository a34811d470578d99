"""Attacks on what commands write: outputs that are inputs by another path, folders, links, or below files."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from d2plm_megatron.checkpoint.__main__ import consolidate, strip
from d2plm_megatron.evaluation import __main__ as evaluation
from d2plm_megatron.generation import __main__ as generation
from d2plm_megatron.report import __main__ as report
from data_tools import cluster, fasta_to_lmdb, inspect_indexed, lmdb_to_indexed, merge, prepare, simulate
from verification.fuzzing import inputs
from verification.fuzzing.attack import Attack, is_anything
from verification.fuzzing.subjects import DATA, FACTS, RUN, command, run_with_checkpoints

CALL = "call.json"
COMMANDS: dict[str, tuple[Callable[..., Any], tuple[str, ...], str, str]] = {
    "fasta_to_lmdb": (fasta_to_lmdb.main, ("--input", inputs.FASTA), "--output", ".lmdb"),
    "lmdb_to_indexed": (lmdb_to_indexed.main, ("--input", inputs.LMDB), "--output", ""),
    "cluster": (cluster.main, ("--input", inputs.LMDB, "--table", inputs.TABLE), "--output", ".clusters.npy"),
    "merge": (merge.main, ("--input", DATA, "--input", DATA), "--output", ""),
    "inspect_fasta": (inspect_indexed.main, (DATA,), "--fasta", ".fasta"),
    "inspect_plot": (inspect_indexed.main, (DATA,), "--plot", ".png"),
    "simulate": (simulate.main, ("--proteins", "5"), "--output", ".fasta"),
    "prepare": (prepare.main, ("--no-homology", "--workers", "1", "--input", inputs.FASTA), "--output", ""),
    "consolidate": (consolidate, (RUN,), "--output", ".safetensors"),
    "strip": (strip, (RUN,), "--output", ""),
    "evaluation": (evaluation.main, (RUN, "--data", DATA, "--draws", "1"), "--output", ".json"),
    "generation": (
        generation.main,
        (RUN, "--num-sequences", "1", "--length", "9", "--steps", "1"),
        "--output",
        ".fasta",
    ),
    "report": (report.main, (RUN,), "--output", ".html"),
}
"""By name: the command, its arguments, of which those that name something in the folder, its output, and its ending."""


def make(folder: Path) -> None:
    """A run, its data, proteins in every form, and a call that is right."""
    run_with_checkpoints(folder)
    inputs.make(folder)
    (folder / FACTS).unlink()
    (folder / CALL).write_text(json.dumps(["simulate", "new.fasta"]), encoding="utf-8")


def called(folder: Path) -> Any:
    """Nothing; the command may refuse, or write what is new or no input of its own.

    Raises AssertionError when it has changed what it reads.
    """
    before = _contents(folder)
    name, output = json.loads((folder / CALL).read_text(encoding="utf-8"))
    main, words, option, _ = COMMANDS[name]
    there = {inputs.FASTA, inputs.LMDB, inputs.TABLE, DATA, RUN}
    arguments = [folder / word if word in there else word for word in words]
    try:
        command(main, *arguments, option, f"{folder}/{output}")
    finally:
        after = _contents(folder)
        lost = [path for path in before if path.startswith(words) and before[path] != after.get(path)]
        if lost:
            raise AssertionError(f"{name} {option} {output} changed what it reads: {', '.join(lost[:5])}")
    return None


def _contents(folder: Path) -> dict[str, str]:
    """A checksum of every file that is there, by its name, but for links and pipes."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def _choose(folder: Path, chance: Random) -> None:
    """Chooses a command and an output that it should not write to."""
    name = chance.choice(sorted(COMMANDS))
    ending = COMMANDS[name][-1]
    there = sorted(path for path in folder.rglob("*") if path.name != CALL)
    target = str(chance.choice(there).relative_to(folder))
    stem = target.removesuffix(".bin").removesuffix(".idx")
    output = chance.choice(
        (target, stem, f"{RUN}/../{stem}", f"{target}/below/new", f"{target}{ending}", DATA, f"./{DATA}")
    )
    if chance.random() < 0.5:
        output = f"evil{ending}"
        _put_in_place(folder / output, folder / target, chance)
    (folder / CALL).write_text(json.dumps([name, output]), encoding="utf-8")


def _put_in_place(path: Path, target: Path, chance: Random) -> None:
    """Puts something in the place of an output, that a command should not replace or follow without care."""
    match chance.choice(("link", "folder", "dangling", "loop", "hard", "pipe", "device", "full", "outside")):
        case "link":
            path.symlink_to(target)
        case "folder":
            path.mkdir()
            (path / "keep").write_text("it")
        case "dangling":
            path.symlink_to("nowhere")  # what leads out of the folder is a user's own wish
        case "loop":
            path.symlink_to(path.name)
        case "hard":
            with suppress(OSError):
                os.link(target, path)
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/full")
        case "full":
            path.with_name(f"{path.name}.bin").mkdir()
        case "outside":
            path.symlink_to(path.parents[1].parent / "outside" / "precious.txt")


ATTACKS = (Attack("outputs", make, _choose, (called,), is_anything),)
