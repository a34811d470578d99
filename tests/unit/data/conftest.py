import pytest

from d2plm_megatron.data import index, indexed


@pytest.fixture(scope="module")
def small_pieces():
    """Pieces of 3 proteins and 8 residues, so that small data cross their borders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_ENTRIES_AT_ONCE", 3)
        patch.setattr(indexed, "_RESIDUES_AT_ONCE", 8)
        yield
