"""What generated proteins look like, in a table."""

import math
from pathlib import Path

from rich.table import Table

from d2plm_megatron.console import show
from d2plm_megatron.proteins.composition import entropy
from d2plm_megatron.sampling.config import Samples


def print_summary(samples: Samples, path: Path) -> None:
    """Prints numbers, lengths, diversity and speed."""
    lengths = [len(sequence) for sequence in samples.sequences]
    residues = sum(lengths)
    table = Table(title=str(path), show_header=False)
    table.add_row("proteins", f"{len(lengths):,}, {len(set(samples.sequences)):,} different")
    table.add_row("residues", f"{residues:,} (lengths {min(lengths)} to {max(lengths)})")
    table.add_row(
        "entropy of the residues", f"{entropy(''.join(samples.sequences)):.3f} nats; even odds: {math.log(20):.3f}"
    )
    table.add_row("entropy within a protein", f"{sum(map(entropy, samples.sequences)) / len(lengths):.3f} nats")
    table.add_row("evaluations of the encoder", f"{samples.nfe:.1f} per pack")
    table.add_row("speed", f"{residues / samples.seconds:,.0f} residues/s, {samples.seconds:.1f} s")
    show(table)
