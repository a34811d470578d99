"""Names of runs as templates: {recipe}, {hash}, {time} and every key of a recipe, such as {optimizer.lr}."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from d2plm_megatron.config.checks import nearest

AUTO = "{recipe}-{time}-{hash}"
"""What name=auto stands for."""
TIME = "{time}"
"""Stays in a name until the run begins; see runs/beginning.py."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_OF_NO_RUN = ("name", "output", "train.resume")
_PARTS_OF_NO_RUN = ("track", "profile")


def expanded(template: str, recipe_name: str, values: Mapping[str, Any]) -> str:
    """A name in which all that is known before the run begins is filled in: everything but the time.

    Args:
        template: what was typed after name=.
        recipe_name: what the recipe calls itself.
        values: of the recipe, by key.

    Raises ValueError where a placeholder is no key of the recipe, and where {time} stands without {hash}, by which a
    run finds its folder again.
    """
    template = AUTO if template == "auto" else template
    known = {**values, "recipe": recipe_name, "hash": fingerprint(values), "time": TIME}
    for name in _PLACEHOLDER.findall(template):
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {{{near}}}?" if near else "there are {recipe}, {time}, {hash} and all keys"
            raise ValueError(f"name={template}: {{{name}}} is no key of the recipe; {hint}")
    if TIME in template and "{hash}" not in template:
        raise ValueError(f"name={template}: {TIME} needs {{hash}}, by which the run finds its folder again")
    return _PLACEHOLDER.sub(lambda found: str(known[found[1]]), template)


def fingerprint(values: Mapping[str, Any]) -> str:
    """Six hexadecimal digits for all that is set in a recipe, but for where it is kept and who watches."""
    of_run = {
        key: value
        for key, value in values.items()
        if key not in _OF_NO_RUN and key.partition(".")[0] not in _PARTS_OF_NO_RUN
    }
    text = json.dumps(of_run, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()
