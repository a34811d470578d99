"""How likely a model finds given proteins: the ELBO of each and, when it is asked for, the pseudo-log-likelihood."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from d2plm_megatron.console import counted, progress, show
from d2plm_megatron.data.packing import in_order
from d2plm_megatron.data.windows import tokens_of, windows
from d2plm_megatron.inference.draws import Draws
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.inference.pseudo import check_reads_masks, masked_once
from d2plm_megatron.inference.spread import by_main
from d2plm_megatron.proteins.tables import write_table
from d2plm_megatron.runs.metrics import perplexity
from d2plm_megatron.scoring.given import Given, read_given
from d2plm_megatron.scoring.likelihoods import Sums, asking_for_nats
from d2plm_megatron.scoring.stream import PACKS_OF_EACH, Part, ask_each

ELBO_COLUMNS = {"nats_per_residue": float, "error_of_draws": float, "perplexity": float, "perplexity_error": float}
PSEUDO_COLUMNS = {"pseudo_log_likelihood": float, "pseudo_perplexity": float}
DIGITS = 6
"""Behind the point, in tables."""
SHOWN = 5
"""Proteins at either end that are printed."""


@dataclass(frozen=True)
class Request:
    """How proteins are scored.

    Attributes:
        draws: of noise for each.
        seed: of the noise.
        pseudo: whether each residue is masked once, too.
        sort: by which number the proteins are sorted, the likeliest first: elbo, pseudo or none.
        window: residues that go through the model as one; see data/windows.py.
        tokens_per_pack: that go through it at once.
    """

    draws: int
    seed: int
    pseudo: bool
    sort: str
    window: int
    tokens_per_pack: int


@dataclass(frozen=True)
class Score:
    """What a model says about a protein.

    Attributes:
        name: its id.
        length: its residues, canonical or not.
        scored: how many of them are canonical, and count.
        elbo: the nats of each draw of the negative ELBO.
        pseudo: the pseudo-log-likelihood in nats; None when it was not asked for.
    """

    name: str
    length: int
    scored: int
    elbo: Draws
    pseudo: float | None

    @property
    def by_elbo(self) -> float:
        """Nats per residue, the mean over the draws."""
        return self.elbo.nats_per_residue

    @property
    def by_pseudo(self) -> float:
        """Nats per residue when each is masked alone."""
        assert self.pseudo is not None
        return -self.pseudo / self.scored

    def row(self) -> list[Any]:
        """What is in the columns of the table."""
        found = [self.by_elbo, self.elbo.error_of_draws, self.elbo.perplexity, self.elbo.perplexity_error]
        if self.pseudo is not None:
            found += [self.pseudo, perplexity(self.by_pseudo)]
        return [self.name, self.length, *(None if number is None else round(number, DIGITS) for number in found)]


def score(model: TrainedModel, given: Given, request: Request, output: Path) -> None:
    """Writes a table with a row of each protein, sorted where that is asked for, and prints both of its ends."""
    if request.pseudo:
        check_reads_masks(model)
    columns = {"id": str, "length": int, **ELBO_COLUMNS, **(PSEUDO_COLUMNS if request.pseudo else {})}
    found = _scores(model, given, request)
    if request.sort != "none":
        by_elbo = request.sort == "elbo"
        found = iter(sorted(found, key=lambda one: one.by_elbo if by_elbo else one.by_pseudo))
    first: list[Score] = []
    last: deque[Score] = deque(maxlen=SHOWN)
    with by_main(write_table(output, columns), model.processes) as write:
        for one in found:
            write(one.row())
            (first if len(first) < SHOWN else last).append(one)
    if model.processes.is_main:
        if request.sort != "none":
            _show(list(columns), first, list(last), len(given.ids))
        print(output)


def _scores(model: TrainedModel, given: Given, request: Request) -> Iterator[Score]:
    """Of each protein, in the order given, on every process."""
    nats, pseudo = np.zeros((request.draws, 2)), _pseudo(model, given, request)
    with by_main(progress("scoring", len(given.ids), "proteins"), model.processes) as advance:
        for (name, length, is_last), of_part in _asked(model, given, request):
            nats = nats + of_part
            if is_last:
                elbo = Draws(nats[None, :, 0], nats[None, :, 1].astype(np.int64))
                yield Score(name, length, int(nats[0, 1]), elbo, next(pseudo) if request.pseudo else None)
                nats = np.zeros_like(nats)
                advance(1)


def _pseudo(model: TrainedModel, given: Given, request: Request) -> Iterator[float]:
    """The pseudo-log-likelihood of each protein; as many of them at a time as all processes are to be handed packs."""
    at_once = PACKS_OF_EACH * model.processes.data_size * request.tokens_per_pack
    residues = (residues for _, residues in read_given(given.path))
    for some in in_order(residues, lambda ids: len(ids) * (min(len(ids), request.window) + 2), at_once):
        for values in masked_once(model, some, request.window, request.tokens_per_pack):
            yield float(values.sum())


def _asked(model: TrainedModel, given: Given, request: Request) -> Iterator[tuple[Any, Sums]]:
    """Of each window of each protein: its label, and what its draws found."""
    ask = asking_for_nats(model, request.draws, request.seed)
    return ask_each(model, _parts(given.path, request.window), ask, request.tokens_per_pack, lambda parts: None)


def _parts(path: Path, longest: int) -> Iterator[Part]:
    """The windows of each protein, with (id, residues, whether it is its last)."""
    for name, residues in read_given(path):
        for one in windows(len(residues), longest):
            label = (name, len(residues), one.stop == len(residues))
            yield Part(label, *tokens_of(residues, one))


def _show(columns: list[str], first: list[Score], last: list[Score], number: int) -> None:
    table = Table(*columns, title=f"{counted(number, 'protein')}, the likeliest first")
    between = number - len(first) - len(last)
    for one in first:
        table.add_row(*_shown(one))
    if between > 0:
        table.add_row(f"... {between:,} more", end_section=True)
    for one in last:
        table.add_row(*_shown(one))
    show(table, width=140)


def _shown(one: Score) -> list[str]:
    return ["" if value is None else f"{value:,.3f}" if isinstance(value, float) else str(value) for value in one.row()]
