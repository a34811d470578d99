"""The plan of a preparation: everything that decides its result. It also tells what of earlier work is still of use."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2plm_megatron.files import check_ordinary, write_text
from d2plm_megatron.proteins.mmseqs import SearchOptions

from ..formats.lmdb_values import Layout
from ..formats.proteins_lmdb import data_file
from .clean_blocks import Rules

_OF_HOMOLOGS = {"homology", "mmseqs"}
_AFTER_CLEANING = {"cut_at"} | _OF_HOMOLOGS
"""The parts of a plan that may change between two calls, since the clean blocks do not depend on them."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the result.

    Attributes:
        inputs: the files of proteins, in the order in which they are read.
        layout: how inputs that are databases are laid out.
        rules: which proteins stay, and which of them are held out.
        cut_at: proteins of more residues than this are cut into chunks; None cuts none.
        homology: which proteins are too similar to one held out from them; None searches for none.
    """

    inputs: tuple[Path, ...]
    layout: Layout
    rules: Rules
    cut_at: int | None
    homology: SearchOptions | None

    def describe(self) -> dict[str, Any]:
        """The plan as JSON, without the inputs."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        if not self.rules.hold_out.test:
            del fields["rules"]["hold_out"]["test"]  # a preparation without a third side says nothing of it
        return {key: value for key, value in fields.items() if key != "inputs"}


def begin_or_resume(work: Path, plan: Plan, mmseqs: str | None) -> None:
    """Makes the folder of the work, or checks that the work in it was begun with the same plan.

    What an earlier plan left and this one cannot use is removed. `mmseqs` is the version of MMseqs2, None without it.
    Raises ValueError if the clean blocks were made from other files or by other rules, if the note about the plan is
    damaged, or if something in the folder is no ordinary file. Raises FileNotFoundError for a missing input.
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
        for path in (*work.glob("outcomes-*"), *work.glob("hits-*.npy")):
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
    """The plan, with what shows whether the files that it names are the same as before."""
    table = plan.rules.hold_out.clusters
    files = {"inputs": [_fingerprint(path) for path in plan.inputs], "clusters": table and _fingerprint(table)}
    return files | plan.describe() | {"mmseqs": mmseqs}


def _fingerprint(path: Path) -> list[str | int]:
    """What shows that a file is the same as before: its name, its bytes, and when it was written, in ns."""
    stat = data_file(path).stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]
