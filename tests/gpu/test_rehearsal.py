"""A rehearsal's memory against what torch's allocator gives out on a GPU."""

import pytest

from benchmarks.rehearsal import measured_peak, small
from d2plm_megatron.rehearsal.rank import rehearse_rank

pytestmark = pytest.mark.gpu


def test_peak_of_the_passes_is_that_of_the_allocator() -> None:
    """Within a tenth: the allocator rounds up, and kernels take scratch that is not rehearsed."""
    recipe = small()
    rehearsed = rehearse_rank(recipe, 0, 1).peak_passes
    assert measured_peak(recipe) == pytest.approx(rehearsed, rel=0.1)
