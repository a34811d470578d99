"""From a recipe and what the user typed to the recipe of this run, by Hydra's grammar; and recipes as YAML.

train.max_steps=20      a value
objective=mlm           one of a group: objective, or model (a named size)
parallel.tensor=2       ...
"""

import dataclasses
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from d2plm_megatron.config import MODEL_SIZES, OBJECTIVES, Objective, Recipe
from d2plm_megatron.files import check_ordinary

GROUPS: dict[str, dict[str, Any]] = {
    "model": MODEL_SIZES,
    "objective": {name: objective() for name, objective in OBJECTIVES.items()},
}
OF_THE_RECIPE = "of_the_recipe"
INTERPOLATION = "${"
LONGEST_NUMBER = 1_000
"""Digits. Python refuses to read some thousand, without a word of where they stand."""
LARGEST_RECIPE_BYTES, DEEPEST_RECIPE = 1 << 20, 8


def resolve(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe after the user's overrides.

    Raises ValueError in one line: an unknown key with the nearest known one, a value of the wrong type, or one that
    the recipe refuses.
    """
    for override in overrides:
        if INTERPOLATION in override:
            raise ValueError(f"{override}: {INTERPOLATION}...}} is not resolved here; write the value itself")
        _check_override(recipe, override, _chosen_objective(recipe, overrides))
        if re.search(rf"\d{{{LONGEST_NUMBER + 1}}}", override):
            raise ValueError(f"{override}: a number of more than {LONGEST_NUMBER} digits")
    _store(recipe)
    GlobalHydra.instance().clear()
    try:
        with initialize(version_base=None, config_path=None):
            config = compose(config_name="recipe", overrides=list(overrides))
        return _to_recipe(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_in_words(error, overrides)) from error


def keys_of(recipe: Recipe) -> dict[str, tuple[Any, str]]:
    """Every key that can be overridden, as a user types it, with its value and help text."""
    keys = {}
    for part in dataclasses.fields(recipe):
        value = getattr(recipe, part.name)
        if dataclasses.is_dataclass(value):
            for item in dataclasses.fields(value):
                keys[f"{part.name}.{item.name}"] = (getattr(value, item.name), item.metadata["help"])
        else:
            keys[part.name] = (value, part.metadata["help"])
    return keys


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, which `from_yaml` reads back."""
    return OmegaConf.to_yaml(OmegaConf.structured(recipe))


def from_yaml(path: Path) -> Recipe:
    """Reads a recipe that `to_yaml` wrote. Raises ValueError when the file holds something else."""
    try:
        loaded = _plain_yaml(path)
        name = OmegaConf.select(loaded, "objective.name")
        if name not in OBJECTIVES:
            raise ValueError(f"{path}: objective.name={name}: allowed are {', '.join(OBJECTIVES)}")
        schema = _writable(Recipe(objective=OBJECTIVES[name]()))
        merged = OmegaConf.merge(schema, loaded)
        assert isinstance(merged, DictConfig)
        return _to_recipe(merged)
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error


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


def _store(recipe: Recipe) -> None:
    """Registers the recipe with Hydra: its model and objective as one choice among those of their groups."""
    store = ConfigStore.instance()
    for group, choices in GROUPS.items():
        for name, choice in {**choices, OF_THE_RECIPE: getattr(recipe, group)}.items():
            store.store(group=group, name=name, node=_writable(choice))
    node = _writable(recipe)
    with open_dict(node):
        for group in GROUPS:
            node.pop(group)
    defaults = ["_self_", *({group: OF_THE_RECIPE} for group in GROUPS)]
    untyped = OmegaConf.create({"defaults": defaults, **{key: node._get_node(key) for key in node}})
    store.store(name="recipe", node=untyped)


def _to_recipe(config: DictConfig) -> Recipe:
    parts = {
        str(key): OmegaConf.to_object(config[key]) if OmegaConf.is_config(config[key]) else config[key]
        for key in config
    }
    return Recipe(**parts)  # type: ignore[arg-type]


def _check_override(recipe: Recipe, override: str, objective: Objective) -> None:
    """Raises ValueError for what is no override, an unknown key or an unknown choice of a group."""
    key, equals, value = override.partition("=")
    if not equals:
        raise ValueError(f"{override}: not an override; write key=value, for example train.max_steps=20")
    key = key.lstrip("+~")
    if key in GROUPS:
        if value not in GROUPS[key]:
            raise ValueError(f"{key}={value}: allowed are {', '.join(GROUPS[key])}{_nearest(value, GROUPS[key])}")
        return
    known = [k for k in keys_of(recipe) if not k.startswith("objective.")]
    known += [f"objective.{name}" for name in _names(type(objective))]
    if key not in known:
        part = key.partition(".")[0]
        owners = [name for name, kind in OBJECTIVES.items() if key.removeprefix("objective.") in _names(kind)]
        if part == "objective" and owners:
            raise ValueError(f"{key}: belongs to objective={' or '.join(owners)}, not to {objective.name}")
        allowed = [k for k in known if k.startswith(part + ".")] or list(dict.fromkeys(k.split(".")[0] for k in known))
        raise ValueError(f"{key}: no such key{_nearest(key, known)}; allowed are {', '.join(allowed)}")


def _names(kind: type[Objective]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _chosen_objective(recipe: Recipe, overrides: Sequence[str]) -> Objective:
    """The recipe's objective, or the one that the overrides choose instead."""
    chosen = [value for key, _, value in (o.partition("=") for o in overrides) if key.lstrip("+~") == "objective"]
    return OBJECTIVES[chosen[-1]]() if chosen and chosen[-1] in OBJECTIVES else recipe.objective


def _nearest(word: str, words: Any) -> str:
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _in_words(error: Exception, overrides: Sequence[str]) -> str:
    """The first line of Hydra's or OmegaConf's message, with the override that it speaks of."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not in Hydra's grammar; quote a value with special characters, as in name='a=b'"
    text = str(error.__cause__ or error)
    key = re.search(r"full_key: (\S+)|(?:at|value of) '(\S+)'", text)
    culprit = next((o for o in overrides if key and o.lstrip("+~").startswith(f"{key[1] or key[2]}=")), None)
    return f"{culprit}: {text.splitlines()[0]}" if culprit else text.splitlines()[0]
