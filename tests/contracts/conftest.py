"""The suite, deployed once per chain; every test finds it as it was deployed."""

from dataclasses import replace

import pytest

from tests.contracts.world import FOREVER, World, deploy_pair, deploy_world, dev, double


@pytest.fixture(scope="session")
def deployed(chain_url: str) -> World:
    """The suite on one kind of chain."""
    return deploy_world(chain_url)


@pytest.fixture
def world(deployed: World, chain_snapshot: str) -> World:
    """The suite; what the test does to the chain is undone."""
    return deployed


@pytest.fixture(scope="session")
def lenient(deployed: World) -> World:
    """The suite with a second Stakes, whose judge does what it is told."""
    stakes, court = deploy_pair(deployed.chain, deployed.token, judge=double("AnyCourt"))
    for index in range(1, 4):
        deployed.send(dev(index), deployed.token, "approve", stakes.address, FOREVER)
    return replace(deployed, stakes=stakes, court=court)


@pytest.fixture
def steps(request: pytest.FixtureRequest) -> int:
    """How many random acts a test may take: anvil is some ten times as fast as the embedded chain."""
    return 80 if request.node.callspec.params["chain_url"] == "anvil" else 30
