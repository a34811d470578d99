"""What was asked for, noted beside what comes of it: another request neither goes on with that nor mixes with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d2plm_megatron.files import write_json
from d2plm_megatron.runs.checkpoint import Checkpoint

_MOST_TOLD = 3
"""Differences that are told, of however many there are."""


def of_model(checkpoint: Checkpoint) -> dict[str, Any]:
    """What tells a trained model from any other, as JSON: where it is, and when it was saved."""
    return {"checkpoint": str(checkpoint.path.resolve()), "trained": checkpoint.state["date"]}


def write_request(path: Path, request: Mapping[str, Any]) -> None:
    """Notes what was asked for: all that decides what comes of it, as JSON."""
    write_json(path, request)


def differences(path: Path, request: Mapping[str, Any]) -> str:
    """How a request differs from the one that is noted; nothing where it does not, or where none is."""
    if not path.exists():
        return ""
    try:
        there = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        return f"{path} is damaged"
    asked = json.loads(json.dumps(request))
    differ = [key for key in {**asked, **there} if asked.get(key) != there.get(key)]
    told = [f"{key} was {_shown(there.get(key))} and is {_shown(asked.get(key))}" for key in differ[:_MOST_TOLD]]
    return ", ".join([*told, *[f"{len(differ) - _MOST_TOLD} more"] * (len(differ) > _MOST_TOLD)])


def _shown(value: object) -> str:
    return "not given" if value is None else json.dumps(value)
