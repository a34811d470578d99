"""From a recipe and what the user typed to the recipe of this run, by Hydra's grammar; and recipes as YAML.

train.max_steps=20      a value
objective=mlm           one of a group: objective, or model (a named size)
parallel.tensor=2       ...

A text that the grammar does not take, such as a path with brackets, an umlaut or an equals sign, is taken as it stands.
"""

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from d2plm_megatron import own_code
from d2plm_megatron.config import MODEL_SIZES, OBJECTIVES, Objective, Recipe, one_of
from d2plm_megatron.config.grammar import parsed_value, swept_values
from d2plm_megatron.config.naming import expanded
from d2plm_megatron.config.other_names import RENAMED, advice_for
from d2plm_megatron.config.own_objective import DEFINED_IN, defined_in
from d2plm_megatron.files import check_ordinary

GROUPS: dict[str, dict[str, Any]] = {
    "model": MODEL_SIZES,
    "objective": OBJECTIVES,
}
INTERPOLATION = "${"
LARGEST_RECIPE_BYTES, DEEPEST_RECIPE = 1 << 20, 8

_WANTED = {float: "a number", int: "a whole number", bool: "true or false"}
_HOME = re.compile(r"(?<!\S)~(?=/)")


def resolve(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe after the user's overrides: first the choices of groups, then the values, whatever their order.

    Raises ValueError in one line: an unknown key with what to write instead, a value of the wrong type, or one that
    the recipe refuses.
    """
    own_code.load_named()
    typed = [_split(override) for override in overrides]
    try:
        return _changed(recipe, typed)
    except ValueError as error:
        for override in overrides:
            if str(error).startswith(f"{override}: ") and values_of(override) is not None:
                raise ValueError(f"{override}: several values are a sweep, and d2plm launch runs sweeps") from error
        raise


def values_of(override: str) -> list[str] | None:
    """The values, as texts, that an override sweeps over, as optimizer.lr=1e-4,3e-4 does; None where it has one value.

    Raises ValueError for what is no override, and for a sweep of which nobody can say the values.
    """
    key, text = _split(override)
    try:
        return swept_values(text, tuple(GROUPS.get(key, ())))
    except ValueError as error:
        raise ValueError(f"{override}: {error}") from error


def _changed(recipe: Recipe, typed: Sequence[tuple[str, str]]) -> Recipe:
    """The recipe after (key, text of the value) of each override."""
    parts = dict(vars(recipe)) | {key: _choice(key, text) for key, text in typed if key in GROUPS}
    changes: dict[str, dict[str, Any]] = {}
    for key, text in typed:
        if key not in GROUPS:
            part, _, name = key.rpartition(".")
            changes.setdefault(part, {})[name] = typed_value(key, text, _kind_of(key, parts))
    parts |= changes.pop("", {})
    found = Recipe(**parts | {part: dataclasses.replace(parts[part], **values) for part, values in changes.items()})
    return found if found.name == recipe.name else dataclasses.replace(found, name=_name(found, recipe))


def _name(found: Recipe, recipe: Recipe) -> str:
    """What was typed after name=, with all but its time filled in."""
    return expanded(found.name, recipe.name, {key: value for key, value, _ in _keys(vars(found))})


def keys_of(recipe: Recipe) -> dict[str, tuple[Any, str]]:
    """Every key that can be overridden, as a user types it, with its value and help text."""
    return {key: (value, item.metadata["help"]) for key, value, item in _keys(vars(recipe))}


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, which `from_yaml` reads back. Of an own objective it says in which file that is."""
    typed = OmegaConf.structured(recipe)
    if (where := defined_in(recipe.objective)) is None:
        return OmegaConf.to_yaml(typed)
    plain = OmegaConf.create(OmegaConf.to_container(typed))
    assert isinstance(plain, DictConfig)
    plain["objective"][DEFINED_IN] = where
    return OmegaConf.to_yaml(plain)


def from_yaml(path: Path) -> Recipe:
    """Reads a recipe that `to_yaml` wrote. Raises ValueError when the file holds something else.

    An own objective must be known already, or be in a file that D2PLM_IMPORT names: nothing is run because a YAML file
    says so.
    """
    own_code.load_named()
    try:
        loaded = _plain_yaml(path)
        if renamed := _renamed(loaded):
            raise ValueError(f"{path}: {renamed}: {advice_for(renamed, [])}")
        name, where = _objective_of(loaded)
        if name not in OBJECTIVES:
            named = f"; it was defined in {where}: to run that file, name it with {own_code.VARIABLE}=FILE"
            raise ValueError(
                f"{path}: objective.name={name}: allowed are {', '.join(OBJECTIVES)}{named if where else ''}"
            )
        schema = _writable(Recipe())
        schema.objective = _writable(OBJECTIVES[name]())  # which a recipe's default model may not be able to learn
        merged = OmegaConf.merge(schema, loaded)
        assert isinstance(merged, DictConfig)
        return _to_recipe(merged)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error


def _objective_of(loaded: DictConfig) -> tuple[Any, Any]:
    """(name of the objective, where it is defined if it is an own one), the latter taken out of what was loaded."""
    part = OmegaConf.select(loaded, "objective")
    where = part.pop(DEFINED_IN, None) if isinstance(part, DictConfig) else None
    return OmegaConf.select(loaded, "objective.name"), where


def _renamed(loaded: DictConfig) -> str | None:
    """The first key that an early version wrote and that is called otherwise now."""
    inner = (
        ".".join((str(part), str(key)))
        for part, value in loaded.items()
        if isinstance(value, DictConfig)
        for key in value
    )
    return next((key for key in (*inner, *map(str, loaded)) if key in RENAMED), None)


def _plain_yaml(path: Path) -> DictConfig:
    """A YAML file of keys and values. Raises ValueError, without reading on, for what can only do harm in a recipe.

    Aliases make a small file large, deep nesting ends the process, and an interpolation could carry a secret of the
    reader's environment into what is written next.
    """
    check_ordinary(path)
    if path.stat().st_size > LARGEST_RECIPE_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes are too many for a recipe")
    text, depth = path.read_text(encoding="utf-8"), 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = f"{path}, line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent) or depth > DEEPEST_RECIPE:
            raise ValueError(f"{line}: aliases and deep nesting do not belong in a recipe")
        if isinstance(event, yaml.ScalarEvent) and INTERPOLATION in event.value:
            raise ValueError(f"{line}: {INTERPOLATION}...}} is not resolved here; write the value itself")
    loaded = OmegaConf.create(text)
    if not isinstance(loaded, DictConfig):
        raise ValueError(f"{path}: not a recipe")
    return loaded


def _writable(value: Any) -> DictConfig:
    """A typed OmegaConf of a frozen dataclass, which would otherwise be read-only."""
    config = OmegaConf.structured(value)

    def unlock(node: DictConfig) -> None:
        OmegaConf.set_readonly(node, False)
        for key in node:
            child = node._get_node(key)
            if isinstance(child, DictConfig):
                unlock(child)

    unlock(config)
    return config


def _to_recipe(config: DictConfig) -> Recipe:
    parts = {
        str(key): OmegaConf.to_object(config[key]) if OmegaConf.is_config(config[key]) else config[key]
        for key in config
    }
    return Recipe(**parts)  # type: ignore[arg-type]


def _split(override: str) -> tuple[str, str]:
    """(key, text of the value). Raises ValueError for what is no override, or asks for more than a value."""
    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"{override}: not an override; write key=value, for example train.max_steps=20")
    if INTERPOLATION in text:
        raise ValueError(f"{override}: {INTERPOLATION}...}} is not resolved here; write the value itself")
    return key, text


def _choice(group: str, name: str) -> Any:
    one_of(group, name, tuple(GROUPS[group]))
    chosen = GROUPS[group][name]
    return chosen() if isinstance(chosen, type) else chosen


def _keys(parts: Mapping[str, Any]) -> Iterator[tuple[str, Any, dataclasses.Field]]:
    """(key, value, field) of everything in a recipe that has these parts."""
    for part in dataclasses.fields(Recipe):
        value = parts[part.name]
        if dataclasses.is_dataclass(value):
            for item in dataclasses.fields(value):
                yield f"{part.name}.{item.name}", getattr(value, item.name), item
        else:
            yield part.name, value, part


def _kind_of(key: str, parts: Mapping[str, Any]) -> Any:
    """The type of a key's value. Raises ValueError, with what to write instead, where there is no such key."""
    kinds = {known: item.type for known, _, item in _keys(parts)}
    if key in kinds:
        return kinds[key]
    part, _, name = key.partition(".")
    owners = [other for other, kind in OBJECTIVES.items() if name in _names(kind)]
    if part == "objective" and owners:
        raise ValueError(f"{key}: belongs to objective={' or '.join(owners)}, not to {parts['objective'].name}")
    allowed = ", ".join([known for known in kinds if known.startswith(f"{part}.")] or parts)
    if key in parts:
        raise ValueError(f"{key}: no such key, but a part of the recipe; its keys are {allowed}")
    raise ValueError(f"{key}: no such key; {advice_for(key, [*kinds, *GROUPS]) or f'allowed are {allowed}'}")


def _names(kind: type[Objective]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def typed_value(key: str, text: str, kind: Any) -> Any:
    """What was typed, as a value of this type. Raises ValueError when it is none."""
    kinds = {*typing.get_args(kind)} or {kind}
    parsed = parsed_value(text)
    if parsed is None and type(None) in kinds:
        return None
    if str in kinds:
        return _HOME.sub(str(Path.home()), parsed if isinstance(parsed, str) else text)
    if bool in kinds and parsed in (True, False):
        return bool(parsed)
    number = parsed if isinstance(parsed, int | float) and not isinstance(parsed, bool) else None
    if int in kinds and (isinstance(number, int) or (isinstance(number, float) and number.is_integer())):
        return int(number)
    if float in kinds and number is not None:
        return float(str(number))  # an integer of any size: what float() refuses becomes infinite, and is refused later
    wanted = next(words for kind, words in _WANTED.items() if kind in kinds)
    raise ValueError(f"{key}={text}: must be {wanted}{' or null' if type(None) in kinds else ''}")
