"""Schedules as they are written in a recipe, and whether numbers can follow them to both ends of time."""

import math
from collections.abc import Callable

from d2plm_megatron.config.checks import one_of

NUMBERS_OF_SCHEDULES = {"linear": 0, "cosine": 0, "polynomial": 1, "cubic": 2, "odds": 2}
EXPONENTS = (0.01, 100.0)
"""Of polynomial schedules, and of odds: with others kappa is 0 or 1 at nearly all times."""
LEAST_NOISE = 1e-10
"""The least share of noise, 1 - kappa, at times that training draws: it is divided by, and known to 1e-6."""
LATEST = 1e-6, 1e-13
"""A share of noise that a likelihood asks about, and the least time that it may lie before t = 1."""


def parse_schedule(text: str) -> tuple[str, list[float]]:
    """The kind of a schedule, and its numbers, of what `FlowMatching.schedule` may be. Raises ValueError."""
    kind, *parts = text.split(":")
    one_of("objective.schedule", kind, tuple(NUMBERS_OF_SCHEDULES))
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not len(numbers) == len(parts) == NUMBERS_OF_SCHEDULES[kind]:
        raise ValueError(f"objective.schedule={text}: write linear, cosine, polynomial:2, cubic:0:2 or odds:3:0.9")
    if kind in ("polynomial", "odds") and not EXPONENTS[0] <= numbers[-1] <= EXPONENTS[1]:
        raise ValueError(f"objective.schedule={text}: the exponent must lie between {EXPONENTS[0]} and {EXPONENTS[1]}")
    if kind == "odds" and not 1e-3 <= numbers[0] <= 1e3:
        raise ValueError(f"objective.schedule={text}: the factor of the odds must lie between 0.001 and 1000")
    if kind == "cubic" and not _rises(*numbers):
        raise ValueError(f"objective.schedule={text}: kappa must not fall anywhere in [0, 1]")
    return kind, numbers


def check_ends(text: str, time_epsilon: float) -> None:
    """Raises ValueError for what is no schedule, and for one whose noise is gone too early, or too late, for float64.

    Args:
        text: the schedule.
        time_epsilon: how much earlier than 1 the last time is that training draws.
    """
    kind, numbers = parse_schedule(text)
    left = _LEFT[kind](time_epsilon, *numbers)
    if left < LEAST_NOISE:
        raise ValueError(
            f"objective.schedule={text}: at t = 1 - {time_epsilon:g} only {left:.1g} is noise, and losses are divided "
            "by it; take a lower exponent, or a greater objective.time_epsilon"
        )
    noise, least = LATEST
    if _LEFT[kind](least, *numbers) > noise:
        raise ValueError(
            f"objective.schedule={text}: noise goes so late that numbers next to t = 1 cannot tell; "
            "take a greater exponent"
        )


_LEFT: dict[str, Callable[..., float]] = {
    "linear": lambda u: u,
    "cosine": lambda u: math.sin(math.pi / 2 * u),
    "polynomial": lambda u, n: -math.expm1(n * math.log1p(-u)),
    "cubic": lambda u, a, b: 3 * u**2 - 2 * u**3 - a * (1 - u) * u**2 + b * (1 - u) ** 2 * u,
    "odds": lambda u, c, a: u**a / (c * (1 - u) ** a + u**a),
}
"""1 - kappa(1 - u), without the rounding of 1 - kappa: the formulas of objectives/schedules.py, seen from the end."""


def _rises(a: float, b: float) -> bool:
    """Whether the cubic kappa with slopes a at 0 and b at 1 never falls.

    Its derivative is q t^2 + p t + a, which is lowest at one of the ends, or in between at -p / 2q.
    """
    q, p = 3 * (a + b - 2), 6 - 4 * a - 2 * b
    lowest = a - p * p / (4 * q) if 0 < -p < 2 * q else min(a, b)
    return a >= 0 and b >= 0 and lowest >= -1e-12 and math.isfinite(a + b)
