"""What pages name in the running text, commands, modules, files and keys, is there under that name."""

import re
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from markdown_it import MarkdownIt

from d2plm_megatron.commandline.commands import COMMANDS
from d2plm_megatron.config import MODEL_SIZES, OBJECTIVES, Recipe, Timed
from d2plm_megatron.config.overrides import keys_of, resolve, values_of
from d2plm_megatron.config.recipe_files import build, load, shipped
from d2plm_megatron.config.sizing import num_parameters
from tests.pages import PAGES, ROOT

FOLDERS = ("recipes", "d2plm_megatron", "data_tools", "launchers", "verification", "benchmarks", "tests", "docs", ".ci")
RECIPES = [
    Recipe(objective=kind(), model=MODEL_SIZES["450m_time" if issubclass(kind, Timed) else "450m"])
    for kind in OBJECTIVES.values()
]
KEYS = {key for recipe in RECIPES for key in keys_of(recipe)}
PARTS = {key.partition(".")[0] for key in KEYS if "." in key}
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def _words(text: str) -> Iterator[str]:
    """What a page holds between single backticks."""
    for token in MarkdownIt().enable("table").parse(text):
        yield from (child.content for child in token.children or () if child.type == "code_inline")


def _missing(said: str) -> str | None:
    """What of the words between backticks there is not; None where all is well, or they name nothing of ours."""
    match said.split():
        case ["python", "-m", module, *_] if not module.isupper() and not module.endswith(".NAME"):
            return None if find_spec(module) else f"module {module}"
        case ["d2plm", *words] if words:
            return None if any(" ".join(words[:n]) in COMMANDS for n in (1, 2)) else f"command {said}"
        case ["make", target, *_]:
            return None if target in TARGETS else f"target {target}"
    paths = [word for word in said.split() if word.startswith(tuple(f"{folder}/" for folder in FOLDERS))]
    if gone := [path for path in paths if not (ROOT / path).exists()]:
        return f"file {gone[0]}"
    key, _, value = said.partition("=")
    return _missing_key(key, value) if key.partition(".")[0] in PARTS and re.fullmatch(r"\w+\.\w+", key) else None


def _missing_key(key: str, value: str) -> str | None:
    if key not in KEYS:
        return f"key {key}"
    for text in value.split("|") if value else ():
        for choice in values_of(f"{key}={text}") or [text]:
            _resolve(key, choice)
    return None


def _resolve(key: str, choice: str) -> None:
    """Raises ValueError unless a recipe takes this; keys of an objective are for those objectives that have them."""
    resolve(next(recipe for recipe in RECIPES if key in keys_of(recipe)), [f"{key}={choice}"])


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    assert [missing for said in _words((ROOT / page).read_text(encoding="utf-8")) if (missing := _missing(said))] == []


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ("python -m benchmarks.fuzz --rounds 3", "module benchmarks.fuzz"),
        ("d2plm checkpoint shrink runs/mine", "command d2plm checkpoint shrink runs/mine"),
        ("make site", "target site"),
        ("torchrun recipes/gone.py", "file recipes/gone.py"),
        ("train.keep", "key train.keep"),
        ("optimizer.learning_rate=1", "key optimizer.learning_rate"),
    ],
)
def test_what_is_gone_is_noticed(said: str, missing: str) -> None:
    assert _missing(said) == missing


def test_value_that_is_not_allowed_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"parallel\.sharding=state"):
        _missing("parallel.sharding=none|state")


def test_architecture_lists_the_rooms_as_import_linter_knows_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [layers] = [contract["layers"] for contract in project["tool"]["importlinter"]["contracts"] if "layers" in contract]
    section = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Who may import whom")[2]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == [set(layer.split(" | ")) for layer in layers]


def test_readme_lists_every_recipe_with_its_parameters() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Recipes")[2].partition("\n## ")[0]
    rows = [row.split("|") for row in section.splitlines() if row.startswith("| `")]
    sizes = {path.stem: num_parameters(build(load(path)).model) for path in shipped()}
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[1])} == sizes.keys()
    for _, names, _, counted, _ in rows:
        ends = [int(number.replace(",", "")) for number in re.findall(r"[\d,]{6,}", counted)]
        listed = [sizes[name] for name in re.findall(r"`(\w+)`", names)]
        assert {min(listed), max(listed)} == {min(ends), max(ends)}
