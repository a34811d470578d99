"""What generated proteins look like, in a table."""

import math
from pathlib import Path

from rich.table import Table

from d2plm_megatron.console import show
from d2plm_megatron.generation.generate import Generated
from d2plm_megatron.proteins.composition import entropy


def print_summary(done: Generated, path: Path) -> None:
    """Prints numbers, lengths, diversity and speed."""
    lengths = [len(sequence) for sequence in done.sequences]
    table = Table(title=str(path), show_header=False)
    table.add_row("proteins", f"{len(lengths):,}, {len(set(done.sequences)):,} different")
    table.add_row("residues", f"{sum(lengths):,} (lengths {min(lengths)} to {max(lengths)})")
    table.add_row(
        "entropy of the residues", f"{entropy(''.join(done.sequences)):.3f} nats; even odds: {math.log(20):.3f}"
    )
    table.add_row("entropy within a protein", f"{sum(map(entropy, done.sequences)) / len(lengths):.3f} nats")
    table.add_row("evaluations of the encoder", f"{done.nfe:.1f} per protein")
    table.add_row("speed", f"{done.residues / done.seconds:,.0f} residues/s, {done.seconds:.1f} s")
    show(table)
