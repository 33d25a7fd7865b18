"""A node that leaves in good order: sessions finish or go on elsewhere, new ones go elsewhere, none is lost."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node import draining
from node.client_errors import SessionFailed
from node.draining import asked_grace, await_drained
from node.errors import NodeStartFailed
from node.refusals import FailureCode
from tests.node.replicas import SPANS, Replicas, client_of, expected
from tests.node.swarm import deploy_network, generate, request, write_tiny_exact_model

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """Six nodes and a client; each test leaves all of them running."""
    home = tmp_path_factory.mktemp("draining")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with Replicas.running(network, write_tiny_exact_model(home / "model"), home) as made:
        yield made


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes back in these tests after half a second."""
    monkeypatch.setattr("node.server.QUIET_SECONDS", 0.5)


async def test_a_session_that_ends_in_time_is_not_moved(net: Replicas) -> None:
    """It finishes where it is, and the drain returns when it has."""
    client = client_of(net)
    session = await client.open(request(max_tokens=12))
    leaving = net.node_of(session, 1)
    tokens = session.tokens()
    first = await anext(tokens)
    drain = asyncio.create_task(leaving.server.drain(60.0))
    rest = [token async for token in tokens]
    report = await session.finish()
    await asyncio.wait_for(drain, 10)
    leaving.server.draining = False
    await client.close()

    assert (first, *rest) == await expected(net, request(max_tokens=12))
    assert report.recoveries == ()


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_session_that_takes_longer_goes_on_elsewhere(net: Replicas, place: int) -> None:
    """Without grace it moves in the middle, and the text is the same."""
    wanted = request(tuple(range(20, 45)), 20)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    leaving, tokens = net.node_of(session, place), list[int]()
    drains = []
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 5:
            drains.append(asyncio.create_task(leaving.server.drain(0.0)))
            await asyncio.sleep(0)
    report = await session.finish()
    await asyncio.wait_for(drains[0], 10)
    leaving.server.draining = False

    assert tuple(tokens) == right
    assert [each.node for each in report.recoveries] == [leaving.owner.address]
    assert leaving.server.active_sessions == 0
    await client.close()


async def test_a_node_that_leaves_takes_no_new_session(net: Replicas) -> None:
    """The client hears why, and another node has it."""
    _, before = await generate(client_of(net), request(max_tokens=2))
    leaving = next(
        stage for pair in net.stages.values() for stage in pair if stage.owner.address == before.route.stages[1].node
    )
    await leaving.server.drain(0.0)
    try:
        tokens, after = await generate(client_of(net), request(max_tokens=2))
    finally:
        leaving.server.draining = False

    assert len(tokens) == 2
    assert leaving.owner.address not in {stage.node for stage in after.route.stages}


async def test_a_session_that_does_not_go_holds_a_leaving_node_for_a_bounded_time(
    net: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked to move, comes back, and is left when the time for such is over, and not before."""
    leaving = net.stages[SPANS[0]][0]
    monkeypatch.setattr("node.server.LAST_SECONDS", 1.0)
    leaving.server._sessions.idle.clear()
    drain = asyncio.create_task(leaving.server.drain(0.0))
    await asyncio.sleep(0.5)
    assert not drain.done()
    await asyncio.wait_for(drain, 10)
    assert not leaving.server._sessions.idle.is_set()
    leaving.server._sessions.idle.set()
    leaving.server.draining = False


async def test_where_nobody_else_can_the_session_comes_back_and_ends_here(net: Replicas) -> None:
    """The only node for its blocks asks a session to move, is asked again, and serves it to its end."""
    wanted = request(tuple(range(20, 45)), 20)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    leaving, tokens = net.node_of(session, 1), list[int]()
    others = [stage for stage in net.stages[SPANS[1]] if stage is not leaving]
    for other in others:
        await net.stop(other)
    drain = None
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 5:
            drain = asyncio.create_task(leaving.server.drain(0.0))
    await session.finish()
    await asyncio.wait_for(drain, 10)  # type: ignore[arg-type]
    await client.close()
    with pytest.raises(SessionFailed) as caught:
        await client_of(net).open(wanted)
    leaving.server.draining = False
    for other in others:
        await net.revive(other)

    assert tuple(tokens) == right
    assert caught.value.code in (FailureCode.DRAINING, FailureCode.STAGE_LOST)


@pytest.mark.parametrize(
    ("text", "grace"),
    [('{"grace": 5}', 5.0), ('{"grace": 0}', 0.0), ('{"grace": -1}', 0.0), ('{"grace": 1e9}', 86_400.0), ("{", 30.0), ("[]", 30.0),
     ('{"grace": "5"}', 30.0), (None, 30.0)],
)  # fmt: skip
async def test_a_bare_signal_or_a_damaged_file_means_the_default(
    tmp_path: Path, text: str | None, grace: float
) -> None:
    """A node never fails to leave because of what lies in its folder."""
    if text is not None:
        (tmp_path / draining.DRAIN_FILE).write_text(text)
    assert asked_grace(tmp_path) == grace


async def test_who_waits_hears_how_many_are_left_and_gives_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node goes on draining: the command's patience is not the node's."""
    heard: list[int] = []
    monkeypatch.setattr("node.draining.running_pid", lambda folder: 7)
    monkeypatch.setattr("node.draining.os.kill", lambda pid, number: heard.append(-number))
    draining.ask_to_drain(tmp_path, 7, 3.0)
    assert (asked_grace(tmp_path), heard.pop()) == (3.0, -signal.SIGUSR1)
    (tmp_path / draining.DRAIN_FILE).write_text('{"left": 2}')
    with pytest.raises(NodeStartFailed, match="still serves"):
        await_drained(tmp_path, 7, 0.0, heard.append)
    monkeypatch.setattr("node.draining.running_pid", lambda folder: None if heard else 7)
    await_drained(tmp_path, 7, 5.0, heard.append)
    assert heard == [2]
