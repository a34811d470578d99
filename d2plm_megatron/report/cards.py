"""What the main numbers of a report mean, by rules that anyone can check: a card for each, green, amber or red."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from d2plm_megatron.evaluation.samples.novelty import CHANCE_QUANTILE
from d2plm_megatron.report import formatting
from d2plm_megatron.report.evaluation_record import Evaluation, Number
from d2plm_megatron.report.results import Results

DEVIATIONS = 2
"""Standard errors, or deviations, that a number must lie beyond chance to count."""

FEW_DIFFERENT = 0.9
"""Below this share of different samples, a model is said to repeat itself."""

MANY_COPIES = 0.1
"""Above this share of samples that are references letter by letter, a model is said to repeat what it was shown."""

GOOD, UNSURE, BAD = "good", "unsure", "bad"


@dataclass(frozen=True)
class Card:
    """A number and what it means.

    Attributes:
        title: what it is.
        value: the number, with its error.
        tone: GOOD, UNSURE or BAD.
        word: the judgement, in a few words.
        meaning: a sentence about it.
        link: the section of the page that tells more.
    """

    title: str
    value: str
    tone: str
    word: str
    meaning: str
    link: str


def cards(results: Results) -> dict[str, Card]:
    """A card for each main number that is there: perplexity, samples, judgement, recognised, identity, mutants."""
    return dict(_cards(results))


def _cards(results: Results) -> Iterator[tuple[str, Card]]:
    if results.evaluation is not None:
        yield "perplexity", _perplexity(results.evaluation)
    if results.judgement is not None:
        yield "judgement", _judgement(results)
    if results.samples is not None:
        yield "samples", _samples(results.samples.summary.distinct, results.samples.summary.proteins)
    if results.novelty is not None:
        recognised, number = int(results.novelty.is_recognised.sum()), len(results.novelty.nearest)
        yield "recognised", _recognised(recognised, number)
        yield "identity", _identity(results, recognised)
    yield from _mutants(results)


def _perplexity(evaluation: Evaluation) -> Card:
    """Good when it lies below that of the best n-gram, or without one of a model without context, beyond its error."""
    elbo, floor, paired = evaluation.elbo, evaluation.best_floor, evaluation.to_best_floor
    name, below = floor or ("model without context", Number(evaluation.unigram, 0.0))
    told = f"without context it is {evaluation.unigram:.2f}. Lower is better."
    if floor is not None:
        told = f"the best n-gram of the training proteins, the {name}, reaches {formatting.with_error(*below)}; {told}"
    if paired is not None:
        name, less, (low, high) = paired
        told += f" Paired by proteins, the difference is {less.value:+.4f} ± {less.error or 0.0:.4f} nats per residue."
    else:
        reach = DEVIATIONS * math.hypot(elbo.error or math.inf, below.error or 0.0)
        low, high = elbo.value - below.value - reach, elbo.value - below.value + reach
    value = formatting.with_error(*elbo)
    return Card("Perplexity of held-out proteins", value, *_beside(name, low, high), _sentence(told), "likelihood")


def _beside(name: str, low: float, high: float) -> tuple[str, str]:
    """Tone and word, by the interval in which the model less something lies."""
    if high < 0:
        return GOOD, f"below the {name}"
    if low > 0:
        return BAD, f"above the {name}: counting residues tells as much; train longer"
    return UNSURE, f"not told apart from the {name}: take more proteins, or train longer"


def _judgement(results: Results) -> Card:
    assert results.judgement is not None
    found = results.judgement
    off = sum(row.is_off for row in found.rows)
    value = f"{off} of {len(found.rows)}"
    tone = {True: GOOD, False: BAD, None: UNSURE}[found.is_good]
    word = {GOOD: "like natural proteins", BAD: "not like natural proteins", UNSURE: "too few to be sure"}[tone]
    return Card("Measures that are off", value, tone, word, _sentence(found.text.partition(";")[0]), "judgement")


def _samples(distinct: int, proteins: int) -> Card:
    title, value = "Generated proteins", f"{proteins:,}"
    meaning = f"{distinct:,} different {'sequence' if distinct == 1 else 'sequences'}."
    if distinct < FEW_DIFFERENT * proteins:
        return Card(title, value, BAD, "repeats itself: raise the temperature, or train longer", meaning, "samples")
    word = "all different" if distinct == proteins else "nearly all different"
    return Card(title, value, GOOD, word, meaning, "samples")


def _recognised(recognised: int, samples: int) -> Card:
    """Good when there are more than a binomial draw of what chance gives reaches in two standard deviations."""
    chance, share = 1 - CHANCE_QUANTILE, recognised / samples
    expected, deviation = samples * chance, math.sqrt(samples * chance * (1 - chance))
    is_more = recognised > max(1, expected + DEVIATIONS * deviation)
    error = formatting.percent(math.sqrt(share * (1 - share) / samples))
    return Card(
        "Recognised",
        f"{recognised:,} of {samples:,}",
        GOOD if is_more else BAD,
        "more than by chance" if is_more else "no more than by chance: train longer",
        f"{formatting.percent(share)} ± {error} are nearer to a reference protein than 99 % of shuffled samples.",
        "novelty",
    )


def _identity(results: Results, recognised: int) -> Card:
    assert results.novelty is not None and results.samples is not None and results.reference is not None
    novelty, known = results.novelty, set(results.reference.sequences)
    copied = sum(sequence in known for sequence in results.samples.sequences) / len(novelty.nearest)
    low, middle, high = of_median(novelty.identities)
    shuffled, natural = (formatting.percent(float(np.median(found))) for found in (novelty.shuffled, novelty.natural))
    meaning = (
        f"95% interval {formatting.percent(low)} to {formatting.percent(high)}; shuffled samples have {shuffled}, "
    )
    meaning += f"references among themselves {natural}."
    if copied > MANY_COPIES:
        tone, word = BAD, "copies of what is known: train less, or on more proteins"
    else:
        tone, word = (GOOD, "new, and no copies") if recognised else (BAD, "new, and like nothing known")
    title = "Median identity to the nearest reference"
    return Card(title, formatting.percent(middle), tone, word, meaning, "novelty")


def _mutants(results: Results) -> Iterator[tuple[str, Card]]:
    """Of the assay with most mutants, and its first method: good where its interval is above 0."""
    ranked = max(results.beside.assays, key=lambda assay: assay.mutants, default=None)
    if ranked is None or not ranked.methods:
        return
    found = next(iter(ranked.methods.values()))
    tone = GOOD if found.low > 0 else BAD if found.high < 0 else UNSURE
    words = {
        GOOD: "ranks mutants better than chance",
        BAD: "ranks mutants the wrong way round",
        UNSURE: "tells nothing certain",
    }
    value = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    meaning = f"of {ranked.mutants:,} mutants, {ranked.assay}; in brackets its 95% interval. "
    meaning += "1 is the measured order, 0 is chance."
    yield (
        "mutants",
        Card("Spearman's correlation with mutants", value, tone, words[tone], _sentence(meaning), "mutations"),
    )


def of_median(values: np.ndarray) -> tuple[float, float, float]:
    """The median between the ends of its 95% interval, by order statistics: no shape of the values is assumed."""
    ordered, number = np.sort(values), len(values)
    low = max(0, math.floor(number / 2 - 0.98 * math.sqrt(number)) - 1)
    return float(ordered[low]), float(np.median(ordered)), float(ordered[number - 1 - low])


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
