"""All attacks, by name."""

from verification.fuzzing import checkpoints, downloads, indexed, inputs, outputs, recipes
from verification.fuzzing.attack import Attack

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for room in (checkpoints, recipes, indexed, inputs, outputs, downloads)
    for attack in room.ATTACKS
}
