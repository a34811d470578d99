"""The whole name of a run that has a time in it: that of its folder, if it has begun before, else with the time now."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from d2plm_megatron.config import Recipe
from d2plm_megatron.config.naming import TIME

_FORM, _DIGITS = "%Y%m%d-%H%M", r"\d{8}-\d{4}"


def begun(recipe: Recipe) -> Recipe:
    """The recipe with its whole name.

    The hash in the name stands for all that is set, so that a folder of the same name but for the time is this run,
    begun before: it goes on there, after whatever stopped it. With train.resume=never it is another one, begun now. One
    process decides for all: clocks differ, and a job's processes start seconds apart.
    """
    if TIME not in recipe.name:
        return recipe
    form = re.compile(re.escape(recipe.name).replace(re.escape(TIME), _DIGITS))
    output = Path(recipe.output)
    folders = output.iterdir() if output.is_dir() and recipe.train.resume != "never" else ()
    before = sorted(folder.name for folder in folders if form.fullmatch(folder.name) and folder.is_dir())
    now = recipe.name.replace(TIME, datetime.now(UTC).strftime(_FORM))
    return replace(recipe, name=before[-1] if before else now)
