"""The points of a sweep in a table, the best first."""

from collections.abc import Iterator, Sequence

from d2plm_megatron.report.formatting import with_error

from .outcomes import FINISHED, Outcome, ranked

DASH = "–"


def table(outcomes: Sequence[Outcome], likelihood: str | None) -> tuple[list[str], list[list[str]]]:
    """(names of the columns, the rows), as texts. What a point does not have is a dash.

    Args:
        outcomes: the points.
        likelihood: by which they are compared; None before any was validated.
    """
    is_evaluated = any(outcome.evaluation for outcome in outcomes)
    columns = ["point", "state"]
    if likelihood is not None:
        columns += [f"perplexity ({likelihood})", "best step", *(["evaluated"] if is_evaluated else [])]
    rows = [
        [outcome.name, _state(outcome), *_quality(outcome, likelihood, is_evaluated), _speed(outcome)]
        for outcome in ranked(outcomes, likelihood)
    ]
    return [*columns, "tokens/s"], rows


def _state(outcome: Outcome) -> str:
    if outcome.steps is None:
        return outcome.state
    done, wanted = outcome.steps
    of = f"{done:,} steps" if outcome.state == FINISHED else f"{done:,} of {wanted:,} steps"
    return f"{outcome.state}, {of}"


def _quality(outcome: Outcome, likelihood: str | None, is_evaluated: bool) -> Iterator[str]:
    if likelihood is None:
        return
    best = outcome.best(likelihood)
    yield f"{best[0]:.3f}" if best else DASH
    yield f"{best[1]:,}" if best else DASH
    if is_evaluated:
        found = (outcome.evaluation or {"likelihoods": {}})["likelihoods"].get(likelihood)
        yield with_error(found["perplexity"], found["perplexity_error"]) if found else DASH


def _speed(outcome: Outcome) -> str:
    speed = outcome.tokens_per_second
    return DASH if speed is None else f"{speed:,.0f}"
