"""What a dry run states of memory is what a rehearsal finds: every recipe's widths, batch and layout, in two layers."""

import math

import pytest

from verification.sizes import TOLERANCE, compared, recipes, shallow

RECIPES = recipes()
ALIKE = {"mlm_450m", "fm_uniform_450m", "fm_tiny", "fm_uniform_tiny", "fm_blosum_tiny", "mlm_tiny", "family_tiny"}
"""Of the sizes and layouts of others that are compared; fm_blosum_tiny is no larger than the tables of its path."""


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - ALIKE))
def test_stated_memory_is_what_a_rehearsal_finds(name: str) -> None:
    for sizes in compared(name, shallow(RECIPES[name])):
        assert math.isclose(sizes.stated, sizes.rehearsed, rel_tol=TOLERANCE), f"{sizes}: off by {sizes.off:+.1%}"
