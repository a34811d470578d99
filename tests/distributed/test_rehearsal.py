"""A rehearsed rank is the real one, counted by the same ledger over gloo."""

from typing import Any

import pytest

from verification.rehearsal import CASES, differences, rehearsed, witnessed

NAMES = [name for name, (size, _) in CASES.items() if "," not in name]


@pytest.fixture(scope="module")
def real() -> dict[str, list[dict[str, Any]]]:
    return witnessed(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_counted_is_as_in_real_steps(name: str, real: dict[str, list[dict[str, Any]]]) -> None:
    for rank in (0, CASES[name][0] - 1):  # verification.rehearsal takes all
        found, told = rehearsed(name, rank), real[name][rank]
        assert told["traffic"] and told["flops"] and min(told["kept"][use] for use in ("weights", "optimizer")) > 0
        assert not list(differences(found, told))
