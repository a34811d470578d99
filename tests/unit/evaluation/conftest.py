import pytest

from tests import natural as simulated


@pytest.fixture
def natural() -> list[str]:
    return [protein.sequence for protein in simulated.corpus()]
