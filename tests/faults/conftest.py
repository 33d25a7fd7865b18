"""One tiny exact model for all runs: equal inputs give equal tokens on any route, whatever went wrong before."""

import pytest

from tests.faults.parts import Parts
from tests.node.swarm import write_tiny_exact_model


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Engines for every node of a world; a test runs one world at a time."""
    return Parts(write_tiny_exact_model(tmp_path_factory.mktemp("faults-model")))
