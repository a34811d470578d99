"""Attacks on what says what a run is: recipe.yaml, and keys and values on the command line."""

import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

from d2plm_megatron.commandline import main as app
from d2plm_megatron.config.overrides import from_yaml, keys_of, to_yaml
from recipes import absorbing_tiny
from verification.fuzzing import damage
from verification.fuzzing.attack import Attack, Reading, Valid
from verification.fuzzing.subjects import ends_well, recipe_in

FILE, ARGUMENTS = "recipe.yaml", "arguments.json"
_SECRET = "a_secret_of_the_reader"
_BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(9))
_YAML = (
    _BOMB,
    "[" * 20_000,
    "a: " + "{a: " * 2_000,
    "- " * 5_000,
    "!!python/object/apply:os.system ['touch canary_of_the_fuzz']",
    "name: !!python/object/apply:os.system ['true']",
    "name: !!python/name:os.system",
    "!!python/module:os",
    "name: ${oc.env:FUZZ_SECRET}",
    "name: '${oc.env:FUZZ_SECRET}'\nobjective: {name: mlm}",
    "name: !!binary /w==",
    "? [a]\n: b",
    "<<: [1]",
    "name: x\n---\nname: y",
    "%YAML 9.9\n---\na",
    "name: 0x" + "f" * 5_000,
    "train: {max_steps: " + "9" * 5_000 + "}",
    "name: 2026-13-45",
    "null",
    "objective: [absorbing]",
    "objective: {name: [absorbing]}",
    "model: null",
)
_VALUES = (
    *(
        "",
        "null",
        "true",
        "0",
        "-1",
        "1",
        "3",
        "7",
        "1e20",
        "1e400",
        "inf",
        "-inf",
        "nan",
        "0.5",
        "1e-30",
        "99999999999999999999",
    ),
    *(
        "x",
        "'a b'",
        "'a\\nb'",
        "'\x1b[31m'",
        "''",
        "..",
        "/",
        "a/b",
        "[1,2]",
        "{a:1}",
        "[",
        "}",
        "\\",
        "'",
        "$x",
        "${x}",
    ),
    *(
        "${oc.env:FUZZ_SECRET}",
        "é",
        "\u202e",
        "x" * 300,
        "9" * 5_000,
        "polynomial:1e30",
        "cubic:nan:1",
        "polynomial:-1",
    ),
    *("choice(1,2)", "range(1,3)", "glob(*)", "int(3)", "1,2", "~", "!!python/name:os.system", "0x10", "1_000", " 5 "),
)


def make(folder: Path) -> None:
    """A recipe as a run leaves it, and the arguments that print one."""
    (folder / FILE).write_text(to_yaml(recipe_in(folder)), encoding="utf-8")
    (folder / ARGUMENTS).write_text(json.dumps(["--cfg", "job"]), encoding="utf-8")


def read_recipe(folder: Path) -> Any:
    """The recipe, and whether it is written and read back as the same."""
    os.environ["FUZZ_SECRET"] = _SECRET
    read = from_yaml(folder / FILE)
    (folder / "again.yaml").write_text(to_yaml(read), encoding="utf-8")
    return {"text": to_yaml(read), "same": repr(from_yaml(folder / "again.yaml")) == repr(read)}


def planned(folder: Path) -> Any:
    """What --dry-run or --cfg job says of the arguments."""
    os.environ["FUZZ_SECRET"] = _SECRET
    sys.argv = ["recipe.py", *json.loads((folder / ARGUMENTS).read_text(encoding="utf-8"))]
    with ends_well():
        app.main(absorbing_tiny.recipe)
    sys.stdout.flush()
    return {"text": (folder.parent / "stdout").read_text(encoding="utf-8"), "same": True}


def keeps_secrets(valid: Valid, reading: Reading) -> str | None:
    """What was accepted is read back as the same, and nothing of the reader's environment is in it."""
    if _SECRET in reading.found["text"]:
        return "a secret of the environment was written"
    return None if reading.found["same"] else "is another recipe when it is written and read back"


def _tamper_yaml(folder: Path, chance: Random) -> None:
    path = folder / FILE
    text = path.read_text(encoding="utf-8")
    match chance.choice(("bytes", "line", "whole", "append")):
        case "bytes":
            damage.damage_bytes(path, chance)
        case "line":
            lines = text.splitlines()
            place = chance.randrange(len(lines))
            key = lines[place].partition(":")[0]
            lines[place] = f"{key}: {chance.choice((*_VALUES, *map(str, damage.EVIL)))}"
            path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
        case "whole":
            path.write_text(chance.choice(_YAML), encoding="utf-8")
        case "append":
            path.write_text(f"{text}\n{chance.choice(_YAML)}\n", encoding="utf-8")


def _choose_arguments(folder: Path, chance: Random) -> None:
    keys = [
        *keys_of(absorbing_tiny.recipe()),
        "model",
        "objective",
        "no.such",
        "model.",
        "",
        "+train.max_steps",
        "~name",
    ]
    overrides = [f"{chance.choice(keys)}={chance.choice(_VALUES)}" for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    options = chance.choice((["--dry-run"], ["--cfg", "job"], ["--dry-run", "--world-size", chance.choice(_VALUES)]))
    given = [*overrides, *options]
    if chance.random() < 0.1:
        given.insert(0, chance.choice(("--unknown", "train.max_steps", "=", "--cfg=x", "--gpu-memory=x", "-x")))
    (folder / ARGUMENTS).write_text(json.dumps([word.replace("\0", "") for word in given]), encoding="utf-8")


ATTACKS = (
    Attack("recipe-file", make, _tamper_yaml, (read_recipe,), keeps_secrets),
    Attack("command-line", make, _choose_arguments, (planned,), keeps_secrets),
)
