"""What the tests of this folder need to be trained: in one list, so that each number of processes is started once."""

from pathlib import Path

from verification.layouts import ALONE, LAYOUTS, OBJECTIVES
from verification.tiny_runs import Job

HARDEST = "fm-uniform+t"
"""With time conditioning and a loss that uses it: what most easily goes wrong meets every layout."""

PARTLY_TRAINED = ("DP2+optimizer", "DP2+FSDP", "TP2+SP", "PP2", "DP2xPP2+optimizer")
"""Where some weights do not train: each kind of sharding once; `verification.parity` has all layouts."""

CELLS = [
    *((HARDEST, layout, "fp32") for layout in LAYOUTS),
    *(("mlm-esm2", layout, "fp32") for layout in (ALONE, "DP2+FSDP", "TP2+SP", "PP2")),
    *((objective, layout, "fp32") for objective in ("absorbing", "mlm") for layout in (ALONE, "PP2")),
    *((HARDEST, layout, "bf16") for layout in (ALONE, "DP2+FSDP", "TP2+SP", "PP2")),
    *((objective, layout, "fp32") for objective in ("frozen", "filtered") for layout in (ALONE, *PARTLY_TRAINED)),
    *(("filtered", layout, "bf16") for layout in (ALONE, "DP2+optimizer", "DP2+FSDP", "TP2+SP", "PP2")),
]
"""The part of the matrix of `verification.parity` that is compared here, and for how long."""
COMPARED_STEPS = 6

RESUMED = [
    *(
        (objective, "DP2+optimizer", precision)
        for objective in ("absorbing", "fm", HARDEST, "mlm")
        for precision in ("fp32", "bf16")
    ),
    *((HARDEST, layout, "fp32") for layout in ("DP2+FSDP", "TP2", "PP2")),
    (HARDEST, "DP2+FSDP", "bf16"),
    ("frozen", "DP2+optimizer", "bf16"),
    *(("filtered", layout, "fp32") for layout in ("DP2+FSDP", "PP2")),
]
"""What is trained for 20 steps, and once more from the checkpoint after the seventh."""

SAVED = ("DP2+optimizer", "DP2+FSDP", "TP2", "PP2")
MOVED = [
    *((HARDEST, saved, to) for saved in SAVED for to in (*SAVED, ALONE, "DP2xTP2+optimizer") if saved != to),
    *(("filtered", saved, to) for saved, to in (("DP2+FSDP", "PP2"), ("PP2", ALONE), ("PP2", "DP2xTP2+optimizer"))),
]
"""(objective, saved in, continued in): from each to each other, and from two processes to one and to four."""

BEGUN = ("DP2+optimizer", "DP2+FSDP", "TP2+SP", "PP2", ALONE)
"""Where what was trained in DP2+optimizer without time conditioning is begun from, and time conditioning added."""

STRAIGHT = (
    "train.max_steps=20",
    "train.global_batch_tokens=512",
    "train.save_every_steps=7",
    "train.keep_last=9",
    "validation.every_steps=5",
)
"""Two packs to a step; the evaluations before and after the seventh step."""
SEVENTH = "checkpoints/step_00000007"


def jobs(folder: Path) -> dict[str, Job]:
    """All of them, by name. Two processes come first: the others continue what they have saved."""
    wanted = {}
    for cell in RESUMED:
        straight = _job(folder / f"{len(wanted)}", cell, STRAIGHT)
        wanted[f"{name(*cell)}/straight"] = straight
        wanted[f"{name(*cell)}/resumed"] = _job(folder / f"{len(wanted)}", cell, STRAIGHT, _seventh(straight))
    for objective, saved, loaded in MOVED:
        of_saved = _seventh(wanted[f"{name(objective, saved, 'fp32')}/straight"])
        cell, options = (objective, loaded, "fp32"), (*STRAIGHT, "train.max_steps=10")
        wanted[f"{objective}, {saved} to {loaded}"] = _job(folder / f"{len(wanted)}", cell, options, of_saved)
    of_plain = _seventh(wanted[f"{name('absorbing', 'DP2+optimizer', 'fp32')}/straight"])
    for layout in BEGUN:
        options = (f"train.max_steps={COMPARED_STEPS}", f"train.init_from={of_plain}")
        wanted[f"begun in {layout}"] = _job(folder / f"{len(wanted)}", (HARDEST, layout, "fp32"), options)
    for cell in CELLS:
        wanted[name(*cell)] = _job(folder / f"{len(wanted)}", cell, (f"train.max_steps={COMPARED_STEPS}",))
    return wanted


def _seventh(job: Job) -> str:
    return f"{job.folder}/{SEVENTH}"


def _job(folder: Path, cell: tuple[str, str, str], options: tuple[str, ...], continues: str | None = None) -> Job:
    objective, layout, precision = cell
    num_processes, overrides = LAYOUTS[layout]
    every = (*OBJECTIVES[objective], *overrides, f"train.precision={precision}", *options)
    return Job(str(folder), num_processes, every, continues)


def name(objective: str, layout: str, precision: str) -> str:
    """Of a cell."""
    return f"{objective}/{layout}/{precision}"
