"""The plan of a preparation, all that decides its result, and what of work begun before still serves it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2plm_megatron.files import check_ordinary, write_text
from d2plm_megatron.proteins.mmseqs import Homology

from ..formats.lmdb_values import Layout
from ..formats.proteins_lmdb import data_file
from .clean_blocks import Rules

_OF_HOMOLOGS = {"homology", "mmseqs"}
_AFTER_CLEANING = {"cut_at"} | _OF_HOMOLOGS
"""What of a plan may change while it is carried out: the clean blocks do not depend on it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the result.

    Attributes:
        inputs: files of proteins, in this order.
        layout: of those that are databases.
        rules: which proteins stay and on which side.
        cut_at: residues; longer proteins are cut into chunks. None: they are not.
        homology: what is removed from training; None: nothing, as where nothing is held out.
    """

    inputs: tuple[Path, ...]
    layout: Layout
    rules: Rules
    cut_at: int | None
    homology: Homology | None

    def describe(self) -> dict[str, Any]:
        """As JSON, without the inputs."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return {key: value for key, value in fields.items() if key != "inputs"}


def claim(work: Path, plan: Plan, mmseqs: str | None) -> None:
    """Notes in the folder of the work what it is for; removes what an earlier plan left and this one cannot use.

    mmseqs    version of MMseqs2, None without

    Raises ValueError if the clean blocks are of other files or rules, if the note is damaged, or for what is no
    ordinary file there, FileNotFoundError for a missing input.
    """
    now = _describe(plan, mmseqs)
    for path in work.rglob("*"):
        if not path.is_dir():
            check_ordinary(path)
    (work / "blocks").mkdir(parents=True, exist_ok=True)
    note = work / "plan.json"
    before = _read(note) if note.exists() else now
    changed = [key for key in now if before.get(key) != now[key]]
    if not _AFTER_CLEANING.issuperset(changed):
        names = ", ".join(changed)
        raise ValueError(f"{work}: begun with other {names}; give the same to go on, or remove that folder")
    if not _OF_HOMOLOGS.isdisjoint(changed):
        for path in (work / "fates-final", *work.glob("hits-*.npy")):
            path.unlink(missing_ok=True)
    write_text(note, json.dumps(now))


def _read(note: Path) -> dict[str, Any]:
    try:
        before = json.loads(note.read_bytes())
    except (ValueError, RecursionError):
        before = None
    if not isinstance(before, dict):
        raise ValueError(f"{note}: damaged, so that nobody knows what was begun there; remove {note.parent}")
    return before


def _describe(plan: Plan, mmseqs: str | None) -> dict[str, Any]:
    """The plan with what shows whether the files that it names are the same as before."""
    table = plan.rules.split.clusters
    files = {"inputs": [_identity(path) for path in plan.inputs], "clusters": table and _identity(table)}
    return files | plan.describe() | {"mmseqs": mmseqs}


def _identity(path: Path) -> list[str | int]:
    """What shows that a file is the same as before: name, bytes, and when it was written, ns."""
    stat = data_file(path).stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]
