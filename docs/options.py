"""The directive {options}: a table of the keys of each part of a recipe, from the dataclasses that define them."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from d2plm_megatron.config import OBJECTIVES, Recipe


def tables() -> str:
    """Markdown: for each part of a recipe, and for each objective, what it is and a table of its keys."""
    recipe = Recipe()
    parts = {key: part for key, part in vars(recipe).items() if dataclasses.is_dataclass(part) and key != "objective"}
    titled = [("", "", recipe), *((key, f"{key}.", part) for key, part in parts.items())]
    titled += [(f"objective={name}", "objective.", kind()) for name, kind in OBJECTIVES.items()]
    return "\n".join(line for title, prefix, part in titled for line in _table(title, prefix, part))


def _table(title: str, prefix: str, part: Any) -> Iterator[str]:
    yield from ["", f"`{title}`: {part.__doc__.splitlines()[0]}"] if title else []
    yield from ["", "| key | default | allowed | meaning |", "|---|---|---|---|", *_rows(part, prefix)]


def _rows(part: Any, prefix: str) -> Iterator[str]:
    for item in dataclasses.fields(part):
        if "help" in item.metadata:
            default, text = getattr(part, item.name), item.metadata["help"].replace("|", "\\|")
            shown = default if isinstance(default, str) else json.dumps(default)
            yield f"| `{prefix}{item.name}` | {shown} | {_allowed(item.metadata['allowed'])} | {text} |"


def _allowed(allowed: tuple[Any, ...] | None) -> str:
    """A range, or the words that are taken; nothing where every text will do."""
    if not allowed:
        return ""
    if isinstance(allowed[0], str):
        return ", ".join(map(str, allowed))
    return " to ".join(f"{end:,}" if isinstance(end, int) else f"{end:g}" for end in allowed)


class Options(SphinxDirective):
    """Stands for the tables."""

    def run(self) -> list[nodes.Node]:
        """The tables as a document's nodes."""
        return self.parse_text_to_nodes(tables())


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("options", Options)
    return {"parallel_read_safe": False}
