"""The numbers of each protein by itself, as a table in a file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from d2plm_megatron.evaluation.evaluate import Evaluation
from d2plm_megatron.inference.draws import Draws
from d2plm_megatron.proteins.tables import write_table

COLUMNS = {
    "checkpoint": str,
    "id": str,
    "length": int,
    "residues": int,
    "draws": int,
    "nats": float,
    "nats_per_residue": float,
    "error_of_draws": float,
    "perplexity": float,
    "pseudo_perplexity": float,
}
"""`residues` are those that are scored, of which `nats` is the negative ELBO, a mean over draws; `error_of_draws` is a
standard error of `nats_per_residue`, and there is none of one draw; `pseudo_perplexity` is that of the proteins of
`--pseudo`."""


def write_proteins(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Writes .csv or .parquet with a row for each protein of each evaluation."""
    with write_table(path, COLUMNS) as write:
        for evaluation in evaluations:
            for row in _rows(evaluation):
                write(row)


def _rows(evaluation: Evaluation) -> Iterator[Sequence[Any]]:
    checkpoint, held_out, elbo = evaluation.about["checkpoint"], evaluation.held_out, evaluation.likelihoods["elbo"]
    pseudo: dict[int, float] = {}
    if evaluation.pseudo is not None:
        singles = map(evaluation.pseudo.draws.of, range(len(evaluation.pseudo.proteins)))
        pseudo = {int(p): found.perplexity for p, found in zip(evaluation.pseudo.proteins, singles, strict=True)}
    for number, (name, letters) in enumerate(zip(held_out.ids, held_out.sequences, strict=True)):
        found: Draws = elbo.of(number)
        yield (
            checkpoint,
            name,
            len(letters),
            int(found.residues[0, 0]),
            found.num_draws,
            float(found.nats.mean()),
            found.nats_per_residue,
            found.error_of_draws,
            found.perplexity,
            pseudo.get(number),
        )
