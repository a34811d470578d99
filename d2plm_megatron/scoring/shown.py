"""Scores in tables, on the screen."""

from rich.table import Table

from d2plm_megatron.console import show
from d2plm_megatron.scoring.correlation import Spearman
from d2plm_megatron.scoring.proteingym import Found, means


def show_correlations(found: Found) -> None:
    """Prints how each method ranks each assay, and the means over several; nothing where nothing was measured."""
    methods = list(next((by_method for _, by_method in found if by_method), {}))
    if not methods:
        return
    table = Table(
        "assay", "mutants", *methods, title="Spearman's rank correlation with what was measured, 95% interval"
    )
    for reference, by_method in found:
        if by_method:
            mutants = f"{by_method[methods[0]].pairs:,}"
            table.add_row(reference.name, mutants, *(_with_interval(by_method[method]) for method in methods))
    if len(found) > 1:
        table.add_section()
        of_methods = [means(found, method) for method in methods]
        for name in of_methods[0]:
            what = f"mean over {name}" if name in ("assays", "proteins") else name
            table.add_row(what, "", *(f"{of_method[name]:.3f}" for of_method in of_methods))
    show(table, width=140)


def _with_interval(found: Spearman) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
