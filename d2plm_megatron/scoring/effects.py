"""What a model says about a mutation: how much likelier the mutant is than the wild type, in nats.

masked marginals (arXiv:10.1101/2021.07.09.450648, as ESM-1v's code and ProteinGym have it): the sum over the mutations
of log p(mutant) - log p(wild type) at their place, when that place alone is masked and all others show the wild type.

wild-type marginals (the same paper): likewise, but nothing is masked. A model must have been trained to say something
about residues that it sees. MLM is, at those that it keeps or replaces. A model from random residues is, too: of a
residue x it says p(x1 | x_t) in proportion to p(x1 | the rest) q(x | x1), of which the first factor alone is taken
(objectives/evidence.py); it is asked at the time at which the share KAPPA of a protein is data.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from torch import Tensor

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import MaskedLM
from d2plm_megatron.data.windows import around
from d2plm_megatron.inference import readouts
from d2plm_megatron.inference.model import TrainedModel
from d2plm_megatron.objectives.evidence import apart
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.scoring.mutants import Mutant
from d2plm_megatron.scoring.stream import Part, ask_each
from d2plm_megatron.scoring.work import ELBO, MASKED, WILD_TYPE

KAPPA = 0.9

Advance = Callable[[int], object]


def methods_of(model: TrainedModel) -> list[str]:
    """What a model can be asked for; the first is what it is asked for where nothing is said."""
    objective, path = model.checkpoint.recipe.objective, model.path
    keeps = isinstance(objective, MaskedLM) and objective.mask_fraction < 1
    return [*[MASKED] * path.has_masks, *[WILD_TYPE] * (keeps or not path.has_masks), ELBO]


def check_methods(model: TrainedModel, methods: Sequence[str]) -> None:
    """Raises ValueError for a method that means nothing for the model, saying why and what does."""
    can = methods_of(model)
    for method in methods:
        if method not in can:
            why = (
                "it was trained at masks alone, and says nothing about residues that it sees"
                if method == WILD_TYPE
                else "it reads no masks"
            )
            raise ValueError(f"--method {method}: {why}; of {model.checkpoint.path} ask {' or '.join(can)}")


def log_odds(
    model: TrainedModel,
    method: str,
    wild_type: np.ndarray,
    places: Sequence[int],
    longest: int,
    tokens_per_pack: int,
    advance: Advance,
) -> np.ndarray:
    """log p(residue) - log p(wild type) at places of a protein: float64 [L, 20], columns as CANONICAL_LETTERS.

    Elsewhere, and where the wild type is no canonical residue, there is NaN.

    Args:
        model: to ask.
        method: MASKED or WILD_TYPE.
        wild_type: ids of its residues.
        places: from 0.
        longest: residues that the model is shown; of a longer protein those around each place.
        tokens_per_pack: at most.
        advance: told the number of windows of each pack that is done here.
    """
    found = np.full((len(wild_type), alphabet.NUM_CANONICAL), np.nan)
    ask = _at_masks(model) if method == MASKED else _at_residues(model)
    parts = _parts(wild_type, places, longest, alone=method == MASKED)
    for asked, log_probs in ask_each(model, parts, ask, tokens_per_pack, advance):
        for place, of_place in zip(asked, log_probs, strict=True):
            if (wild := int(wild_type[place]) - alphabet.FIRST_CANONICAL) < alphabet.NUM_CANONICAL:
                found[place] = of_place - of_place[wild]
    return found


def score(mutant: Mutant, odds: np.ndarray) -> float:
    """The sum of the log odds of a mutant's mutations."""
    return float(sum(odds[place, alphabet.CANONICAL_LETTERS.index(letter)] for _, place, letter in mutant))


def _parts(wild_type: np.ndarray, places: Sequence[int], longest: int, alone: bool) -> Iterable[Part]:
    """Windows of the protein, of which the places that are asked about are scored: one each, or all that share one."""
    shared: dict[tuple[int, int], list[int]] = {}
    for place in places:
        seen = around([place], len(wild_type), longest)
        key = (seen.start, place if alone else seen.stop)
        shared.setdefault(key, []).append(place)
    for asked in shared.values():
        seen = around(asked[:1], len(wild_type), longest)
        part = Part.of(asked, wild_type, seen)
        scored = np.zeros_like(part.scored)
        scored[np.array(asked) - seen.start + (seen.start == 0)] = True
        yield Part(asked, part.tokens, scored)


def _at_masks(model: TrainedModel) -> Callable[[TokenBatch], list[np.ndarray]]:
    """Masks what is scored, and reads there."""

    def ask(pack: TokenBatch) -> list[np.ndarray]:
        tokens_T = pack.tokens_T.masked_fill(pack.scored_T, alphabet.MASK)
        return _read(model, pack, tokens_T, time=None)

    return ask


def _at_residues(model: TrainedModel) -> Callable[[TokenBatch], list[np.ndarray]]:
    """Reads what is scored as it is; of a model from random residues, at KAPPA."""
    path = model.path
    time = None if path.has_masks else path.time_of_share(1 - KAPPA)
    return lambda pack: _read(model, pack, pack.tokens_T, time)


def _read(model: TrainedModel, pack: TokenBatch, tokens_T: Tensor, time: float | None) -> list[np.ndarray]:
    """log p of the canonical residues given the others, up to a constant, where it is scored: [P, 20] of each part."""
    shown = readouts.as_it_is(TokenBatch(**{**vars(pack), "tokens_T": tokens_T}), model.path, time)
    log_probs_TV, _ = apart(model.path, model.logits(shown)[:, alphabet.CANONICAL].double(), shown)
    lengths = list(pack.lengths_S)
    pairs = zip(log_probs_TV.cpu().split(lengths), pack.scored_T.cpu().split(lengths), strict=True)
    return [values[where].numpy() for values, where in pairs]
