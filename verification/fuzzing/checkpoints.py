"""Attacks on the folder of a run: state, pointers, log, index and tensors of its checkpoints."""

import json
import re
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from safetensors.torch import load_file

from d2plm_megatron.checkpoint.__main__ import consolidate, inspect, verify
from d2plm_megatron.console import note
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.stream import PackStream
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.parallel.processes import process_group
from d2plm_megatron.report.run_record import RunRecord
from d2plm_megatron.runs import integrity
from d2plm_megatron.runs import tensor_index as index
from d2plm_megatron.runs.checkpoint import STATE, Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.metrics import read_metrics, rewind
from d2plm_megatron.runs.tensor_index import EMA
from d2plm_megatron.training.fingerprint import fingerprint
from d2plm_megatron.training.resume import newest_checkpoint, progress_of
from verification.fuzzing import damage
from verification.fuzzing.attack import Attack, Reading, Valid, is_anything
from verification.fuzzing.subjects import FACTS, RUN, command, digest, facts_of, recipe_in, run_with_checkpoints

NEWEST, TENSORS = "step_00000004", "00000.safetensors"
CHECKPOINT = Path(RUN, "checkpoints", NEWEST)


def resume(folder: Path) -> Any:
    """What a run would go on from."""
    recipe = recipe_in(folder)
    stream, validation = PackStream.open(recipe.data, recipe.train.seed), IndexedProteins(recipe.data.validation or "")
    with process_group():
        checkpoint = newest_checkpoint(RunFolder(folder / RUN), recipe, note)
    if checkpoint is None:
        return None
    progress = progress_of(checkpoint, recipe, fingerprint(recipe, stream, validation), note)
    stream.check(progress.position)
    rewind(folder / RUN / "metrics.jsonl", progress.step, note)
    return {"checkpoint": checkpoint.path.name, **facts_of(checkpoint), "progress": progress.to_json()}


def sample_from(folder: Path) -> Any:
    """The encoder that generation and evaluation would use."""
    checkpoint = Checkpoint.open(folder / RUN)
    with TrainedModel.open(checkpoint, EMA, "fp32"):
        pass
    return {"checkpoint": checkpoint.path.name}


def consolidated(folder: Path) -> Any:
    """What other programs get."""
    command(consolidate, folder / RUN, "--output", folder / "whole.safetensors")
    return {"ema": digest(load_file(folder / "whole.safetensors"))}


def inspected(folder: Path) -> Any:
    """Nothing but what is printed."""
    command(inspect, folder / RUN)
    command(verify, folder / RUN)
    return {}


def reported(folder: Path) -> Any:
    """What a report tells of the run."""
    record = RunRecord.read(folder / RUN)
    return {"progress": record.state and record.state["progress"], "trained": record.trained}


def logged(folder: Path) -> Any:
    """The lines of the log."""
    return list(read_metrics(folder / RUN / "metrics.jsonl", note))


READERS = (resume, sample_from, consolidated, inspected, reported)


def as_written(valid: Valid, reading: Reading) -> str | None:
    """What was read is of one of the checkpoints as they were written, and if not of the newest, it was said."""
    facts = json.loads((valid.folder / FACTS).read_text(encoding="utf-8"))
    if not isinstance(reading.found, dict):
        return f"lost the checkpoints: {reading.found}"
    names = [reading.found["checkpoint"]] if "checkpoint" in reading.found else list(facts)
    same = [
        name
        for name in names
        if name in facts and all(facts[name].get(key, value) == value for key, value in reading.found.items())
    ]
    if not same:
        return f"read what no checkpoint holds: {str(reading.found)[:300]}"
    return None if NEWEST in same or reading.said else f"took {same[0]} in silence"


def lines_as_written(valid: Valid, reading: Reading) -> str | None:
    """All lines that were read are lines that were written, and if one is damaged, it was said."""
    others = [line for line in reading.found if line not in valid.found]
    return f"read another line: {others[0]}" if others else None


def _damage(*names: str) -> Callable[[Path, Random], None]:
    """Damages the bytes of one of these files."""

    def tamper(folder: Path, chance: Random) -> None:
        damage.damage_bytes(folder / chance.choice(names), chance)

    return tamper


def _state_resealed(folder: Path, chance: Random) -> None:
    damage.reseal(folder / CHECKPOINT / STATE, lambda values: damage.changed_json(values, chance))


def _pointer_resealed(folder: Path, chance: Random) -> None:
    path = folder / RUN / "checkpoints" / chance.choice(("latest", "best"))
    if chance.random() < 0.3:
        damage.reseal(path, lambda values: damage.changed_json(values, chance))
    else:
        name = chance.choice(("step_00000002", "step_99999999", "../checkpoints/step_00000002", *map(str, damage.EVIL)))
        damage.reseal(path, lambda values: {"checkpoint": name})


def _log_resealed(folder: Path, chance: Random) -> None:
    path = folder / RUN / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    line = chance.choice(lines)
    line.pop(integrity.CHECKSUM)
    other = damage.changed_json(line, chance)
    lines[chance.randrange(len(lines))] = integrity.sealed(other) if isinstance(other, dict) else other
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _index_resealed(folder: Path, chance: Random) -> None:
    path = folder / CHECKPOINT / index.NAME
    path.write_text(json.dumps(damage.changed_json(json.loads(path.read_bytes()), chance)), encoding="utf-8")
    _seal_files(folder)


def _tensors_resealed(folder: Path, chance: Random) -> None:
    path = folder / CHECKPOINT / TENSORS
    if chance.random() < 0.3:
        damage.damage_bytes(path, chance)
    else:
        _lie_in_header(path, chance)
    _seal_files(folder)


def _lie_in_header(path: Path, chance: Random) -> None:
    """Huge or negative sizes, places that overlap or lie outside, other types: in the header of safetensors."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    entry = header[chance.choice([name for name in header if name != "__metadata__"])]
    match chance.choice(("offsets", "shape", "dtype", "anything", "size")):
        case "offsets":
            entry["data_offsets"] = [chance.choice((0, 4, len(rest), 2**62, -4)) for _ in range(2)]
        case "shape":
            entry["shape"] = chance.choice(([2**40], [], [0], [-1], [2**32, 2**32], [1] * 1000, entry["shape"][::-1]))
        case "dtype":
            entry["dtype"] = chance.choice(("F64", "BF16", "I8", "BOOL", "F8_E4M3", "F4", "C64", "", None))
        case "anything":
            header = damage.changed_json(header, chance)
    text = json.dumps(header).encode("utf-8", "replace")
    size = chance.choice((0, 1, 2**31, 2**63, 2**64 - 1)) if chance.random() < 0.2 else len(text)
    path.write_bytes(struct.pack("<Q", size) + text + rest)


def _seal_files(folder: Path) -> None:
    """Makes the checksums of a checkpoint's files anew, as if they had been written so."""
    checkpoint = folder / CHECKPOINT

    def describe(values: dict[str, Any]) -> None:
        values["files"] = integrity.describe(checkpoint / name for name in values["files"])

    damage.reseal(checkpoint / STATE, describe)


def _plant(folder: Path, chance: Random) -> None:
    """Puts a pickle in the place of a file, or beside, under a name that earlier versions and torch read."""
    checkpoint = folder / CHECKPOINT
    files = [path for path in (folder / RUN).rglob("*") if path.is_file()]
    names = (".metadata", "common.pt", "__0_0.distcp", "model.pt", "state.pt", "pytorch_model.bin", "00001.safetensors")
    path = chance.choice((chance.choice(files), checkpoint / TENSORS, checkpoint / chance.choice(names)))
    path.write_bytes(damage.planted(chance))
    if path == checkpoint / STATE:
        return
    if chance.random() < 0.5:
        _seal_files(folder)
    if chance.random() < 0.3:
        damage.reseal(checkpoint / STATE, lambda values: {**values, "format": chance.choice((1, 2))})


def _misplace(folder: Path, chance: Random) -> None:
    """Puts links, folders and pipes in places of the run; a folder of checkpoints elsewhere is a user's own wish."""
    paths = sorted(path for path in (folder / RUN).rglob("*") if path.name != "checkpoints")
    damage.misplace(chance.choice(paths), chance)


def pruned(folder: Path) -> Any:
    """The next save and the removal of old checkpoints, which must leave alone what links lead to."""
    run = RunFolder(folder / RUN)
    for step in (6, 8):
        (run.begin(step) / STATE).write_text("{}", encoding="utf-8")
        run.complete(step, is_best=True, keep_last=1)
    return sorted(path.name for path in run.checkpoints.iterdir() if re.fullmatch(r"step_\d+|latest|best", path.name))


make = run_with_checkpoints
_attack = partial(Attack, make=make, judge=as_written)
POINTERS = (f"{RUN}/checkpoints/latest", f"{RUN}/checkpoints/best")
ATTACKS = (
    _attack("state", tamper=_damage(f"{CHECKPOINT}/{STATE}"), readers=READERS),
    _attack("state-resealed", tamper=_state_resealed, readers=READERS, judge=is_anything),
    _attack("pointers", tamper=_damage(*POINTERS), readers=READERS),
    _attack("pointers-resealed", tamper=_pointer_resealed, readers=READERS, judge=is_anything),
    _attack("log", tamper=_damage(f"{RUN}/metrics.jsonl"), readers=(logged,), judge=lines_as_written),
    _attack("log-resealed", tamper=_log_resealed, readers=(resume, reported), judge=is_anything),
    _attack("index", tamper=_damage(f"{CHECKPOINT}/{index.NAME}"), readers=READERS),
    _attack("index-resealed", tamper=_index_resealed, readers=READERS),
    _attack("tensors", tamper=_damage(f"{CHECKPOINT}/{TENSORS}"), readers=READERS),
    _attack("tensors-resealed", tamper=_tensors_resealed, readers=READERS, judge=is_anything),
    _attack("planted-pickles", tamper=_plant, readers=READERS, judge=is_anything),
    _attack("links", tamper=_misplace, readers=(*READERS, logged, pruned), judge=is_anything),
)
