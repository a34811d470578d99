"""What is behind one number: by share of noise, by length, by residue, and what is printed of it."""

from typing import Any

from rich.table import Table

from d2plm_megatron.console import show


def print_details(numbers: dict[str, Any]) -> None:
    """Prints, of what `Evaluation.numbers` holds, how guesses turn out, compactly."""
    show(_by_noise(numbers))
    print(f"expected calibration error {numbers['calibration']['error']:.4f}, of all guesses together")
    show(_by_length(numbers))
    rows = sorted(numbers["by_residue"].items(), key=lambda item: item[1]["perplexity"])
    print("perplexity by residue:", ", ".join(f"{letter} {row['perplexity']:.1f}" for letter, row in rows))


def _by_noise(numbers: dict[str, Any]) -> Table:
    table = Table(title=f"guesses by the share of residues that are {numbers['noise_is']}")
    for column in (numbers["noise_is"], "perplexity", "accuracy", "confidence", "calibration error"):
        table.add_column(column, justify="right")
    for row in numbers["by_noise"]:
        shown = [f"{row[name]:.1%}" for name in ("accuracy", "confidence")]
        share = f"{row['from']:.0%} to {row['to']:.0%}"
        table.add_row(share, f"{row['perplexity']:.3f}", *shown, f"{row['calibration_error']:.3f}")
    return table


def _by_length(numbers: dict[str, Any]) -> Table:
    table = Table(title="ELBO perplexity by length")
    for column in ("length", "proteins", "perplexity", "standard error"):
        table.add_column(column, justify="right")
    for row in numbers["by_length"]:
        error = row["standard_error"]
        shown = "" if error is None else f"{row['perplexity'] * error:.3f}"
        table.add_row(f"{row['from']:,} to {row['to']:,}", f"{row['proteins']:,}", f"{row['perplexity']:.3f}", shown)
    return table
