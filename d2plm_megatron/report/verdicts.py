"""What the main numbers of a report mean, by rules that anyone can check."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from d2plm_megatron.evaluation.samples.novelty import CHANCE_QUANTILE
from d2plm_megatron.report.results import Results

DEVIATIONS = 2
"""Standard errors, or deviations, that a number must lie beyond chance to count."""

FEW_DIFFERENT = 0.9
"""Below this share of different samples, a model is said to repeat itself."""

MANY_COPIES = 0.1
"""Above this share of samples that are references letter by letter, a model is said to repeat what it was shown."""


@dataclass(frozen=True)
class Verdict:
    """A judgement in a few words, and whether it is good news."""

    text: str
    is_good: bool


def verdicts(results: Results) -> dict[str, Verdict]:
    """A judgement of each main number that is there: perplexity, samples, recognised, identity."""
    return dict(_verdicts(results))


def _verdicts(results: Results) -> Iterator[tuple[str, Verdict]]:
    if results.evaluation is not None:
        elbo = results.likelihoods["elbo"]
        unigram = results.evaluation["unigram_perplexity"]
        if (error := elbo["perplexity_standard_error"]) is not None:  # of one draw of one protein nobody can say
            yield "perplexity", _of_perplexity(elbo["perplexity"], error, unigram)
    if results.samples is not None:
        yield "samples", _of_samples(results.samples.summary.distinct, results.samples.summary.proteins)
    if results.novelty is not None and results.samples is not None and results.reference is not None:
        novelty, known = results.novelty, set(results.reference.sequences)
        yield "recognised", _of_recognised(int(novelty.is_recognised.sum()), len(novelty.nearest))
        copies = sum(sequence in known for sequence in results.samples.sequences)
        yield "identity", _of_identity(copies / len(novelty.nearest), int(novelty.is_recognised.sum()))


def _of_perplexity(perplexity: float, error: float, unigram: float) -> Verdict:
    """Good when it lies below that of a model without context by more than two standard errors."""
    if perplexity + DEVIATIONS * error < unigram:
        return Verdict("better than without context", True)
    return Verdict("not better than without context: train longer", False)


def _of_samples(distinct: int, proteins: int) -> Verdict:
    if distinct < FEW_DIFFERENT * proteins:
        return Verdict("repeats itself: raise the temperature, or train longer", False)
    return Verdict("all different" if distinct == proteins else "nearly all different", True)


def _of_recognised(recognised: int, samples: int) -> Verdict:
    """Good when there are more than a binomial draw of what chance gives reaches in two standard deviations."""
    chance = 1 - CHANCE_QUANTILE
    expected, deviation = samples * chance, math.sqrt(samples * chance * (1 - chance))
    if recognised > max(1, expected + DEVIATIONS * deviation):
        return Verdict("more than by chance", True)
    return Verdict("no more than by chance: train longer", False)


def _of_identity(copied: float, recognised: int) -> Verdict:
    if copied > MANY_COPIES:
        return Verdict("copies of what is known: train less, or on more proteins", False)
    return Verdict("new, and no copies" if recognised else "new, and like nothing known", bool(recognised))
