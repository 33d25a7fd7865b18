"""The suite, deployed once per chain; every test finds it as it was deployed."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from incentives.models import Models
from tests.contracts.judging import Bench
from tests.contracts.jury_world import JuryWorld, Trial, deploy_jury, trial
from tests.contracts.reverts import LEDGER
from tests.contracts.score_world import Play, ScoreWorld, deploy_scores
from tests.contracts.world import FOREVER, World, deploy_judge, deploy_lenient, deploy_world, dev


@pytest.fixture(scope="session", autouse=True)
def refusals() -> Iterator[None]:
    """Whatever a chain refuses is noted."""
    with LEDGER.listening():
        yield


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
    stakes, court = deploy_lenient(deployed.chain, deployed.token)
    for index in range(1, 4):
        deployed.send(dev(index), deployed.token, "approve", stakes.address, FOREVER)
    return replace(deployed, stakes=stakes, court=court)


@pytest.fixture(scope="session")
def bench(deployed: World) -> Bench:
    """A judge of its own; it keeps no state, and its models are registered once each."""
    models, judge = deploy_judge(deployed.chain)
    return deployed, judge, Models(deployed.chain, models)


@pytest.fixture
def steps(request: pytest.FixtureRequest) -> int:
    """How many random acts a test may take: anvil is some ten times as fast as the embedded chain."""
    return 80 if request.node.callspec.params["chain_url"] == "anvil" else 30


@pytest.fixture(scope="session")
def deployed_scores(deployed: World) -> ScoreWorld:
    """Reliability beside stakes whose judge believes what it is told."""
    return deploy_scores(deployed)


@pytest.fixture
def play(deployed_scores: ScoreWorld, chain_snapshot: str) -> Play:
    """Four bonded nodes and no table yet; what the test does to the chain is undone."""
    return Play(deployed_scores)


@pytest.fixture(scope="session")
def jurors(deployed: World) -> JuryWorld:
    """A court with a jury, and a table to draw it from."""
    return deploy_jury(deployed)


@pytest.fixture
def played(jurors: JuryWorld, chain_snapshot: str) -> Trial:
    """A receipt that nobody has accused yet."""
    return trial(jurors)
