"""All attacks, by name."""

from benchmarks.fuzzing import checkpoints
from benchmarks.fuzzing.attack import Attack

ATTACKS: dict[str, Attack] = {attack.name: attack for room in (checkpoints,) for attack in room.ATTACKS}
