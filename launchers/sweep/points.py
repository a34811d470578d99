"""The points of a sweep: every combination of the values that overrides name by Hydra's grammar.

optimizer.lr=1e-4,3e-4 objective=absorbing,mlm     four points, lr=1e-4_objective=absorbing the first
data.train='"a,b"'                                 one value with a comma in it
"""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2s

from d2plm_megatron.config.overrides import values_of

MOST_POINTS = 1000
"""Of a sweep; more are taken for a slip of the pen."""

NOT_SWEPT = ("name", "output")
"""Keys that name folders, in whose values a comma is a comma: the points of a sweep have folders of their own."""

LONGEST_NAME = 100
"""Of a point, in characters; longer ones are cut, and end in a hash of the whole."""

_QUOTES, _UNSAFE = re.compile("[\"']"), re.compile(r"[^\w.+=-]+", re.ASCII)


def expand(overrides: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The points that overrides ask for, the last swept key changing fastest.

    Returns for each its name and its overrides, in the order given, with one value where a sweep was. A name holds the
    swept keys and values, as in lr=1e-4_objective=mlm, is one that any file system takes, and is unlike every other; it
    is "" where nothing is swept. Raises ValueError for a sweep that cannot be: of a key that is given twice, of a value
    that stands there twice, or of more than 1,000 points.
    """
    sweeps = {
        override: values
        for override in overrides
        if _key(override) not in NOT_SWEPT and (values := values_of(override)) is not None
    }
    _check(sweeps, overrides)
    shown = _short_keys([_key(override) for override in sweeps])
    names, points = [], []
    for chosen in itertools.product(*sweeps.values()):
        value_of = dict(zip(sweeps, chosen, strict=True))
        names.append("_".join(f"{shown[_key(override)]}={value}" for override, value in value_of.items()))
        points.append([f"{_key(given)}={value_of[given]}" if given in value_of else given for given in overrides])
    return list(zip(_folder_names(names), points, strict=True))


def _check(sweeps: Mapping[str, Sequence[str]], overrides: Sequence[str]) -> None:
    keys = Counter(map(_key, overrides))
    number = 1
    for override, values in sweeps.items():
        if keys[_key(override)] > 1:
            raise ValueError(f"{override}: {_key(override)} is given twice, and a sweep takes all its values from one")
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise ValueError(f"{override}: {twice[0]} stands there twice")
        number *= len(values)
    if number > MOST_POINTS:
        raise ValueError(f"{' '.join(sweeps)}: a sweep of {number:,} points; {MOST_POINTS:,} are the most")


def _key(override: str) -> str:
    return override.partition("=")[0]


def _short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Each key by its last part, where that tells it from the others."""
    lasts = Counter(key.rpartition(".")[2] for key in keys)
    return {key: last if lasts[last := key.rpartition(".")[2]] == 1 else key for key in keys}


def _folder_names(names: Sequence[str]) -> list[str]:
    """The names made safe and short; those that are alike then, whatever the case of their letters, get a hash."""
    safe = [_UNSAFE.sub("-", _QUOTES.sub("", name)) for name in names]
    alike = Counter(name.casefold() for name in safe)
    return [
        short if alike[short.casefold()] == 1 and len(short) <= LONGEST_NAME else _with_hash(short, whole)
        for short, whole in zip(safe, names, strict=True)
    ]


def _with_hash(name: str, whole: str) -> str:
    return f"{name[: LONGEST_NAME - 9]}-{blake2s(whole.encode(), digest_size=4).hexdigest()}"
