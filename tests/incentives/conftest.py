"""The suite, deployed once per kind of chain; every test finds it as it was deployed."""

import pytest

from tests.incentives.suite import Suite, deploy


@pytest.fixture(scope="session")
def deployed_suite(chain_url: str) -> Suite:
    """The suite on one kind of chain."""
    return deploy(chain_url)


@pytest.fixture
def suite(deployed_suite: Suite, chain_snapshot: str) -> Suite:
    """The suite; what the test does to the chain is undone."""
    return deployed_suite
