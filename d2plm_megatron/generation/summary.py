"""What generated proteins look like, in a table."""

import math

from rich.table import Table

from d2plm_megatron.console import show
from d2plm_megatron.generation.generate import Generated
from d2plm_megatron.proteins.composition import entropy


def print_summary(generated: Generated) -> None:
    """Prints numbers, lengths, diversity and speed."""
    lengths = [len(sequence) for sequence in generated.sequences]
    residues = sum(lengths)
    table = Table(title=str(generated.path), show_header=False)
    table.add_row("proteins", f"{len(lengths):,}, {len(set(generated.sequences)):,} different")
    table.add_row("residues", f"{residues:,} (lengths {min(lengths)} to {max(lengths)})")
    table.add_row(
        "entropy of the residues", f"{entropy(''.join(generated.sequences)):.3f} nats; even odds: {math.log(20):.3f}"
    )
    table.add_row("entropy within a protein", f"{sum(map(entropy, generated.sequences)) / len(lengths):.3f} nats")
    table.add_row("evaluations of the encoder", f"{generated.num_evaluations:.1f} per protein")
    table.add_row("speed", f"{residues / generated.seconds:,.0f} residues/s, {generated.seconds:.1f} s")
    show(table)
