"""d2plm recipes: what there is to train."""

import ast

from rich.table import Table

from d2plm_megatron.config.recipe_files import shipped
from d2plm_megatron.console import run, show


def main() -> None:
    """Lists the recipes by name, each with a line."""
    table = Table("recipe", "what it trains", title="d2plm train RECIPE data.train=PREFIX ...")
    for path in shipped():
        says = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        table.add_row(path.stem, says.partition("\n")[0])
    show(table, width=140)


if __name__ == "__main__":
    run(main)
