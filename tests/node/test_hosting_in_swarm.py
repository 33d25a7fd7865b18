"""A node that changes what it hosts while it serves: sessions end where they are or go on elsewhere, and the text is the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from node.kept import KEEP_SECONDS
from node.refusals import FailureCode, Refused
from sharding.span import Span
from tests.node.replicas import SPANS, Replicas, client_of, expected
from tests.node.swarm import Stage, deploy_network, generate, request, write_tiny_exact_model

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = tuple(range(20, 45))
OWN, WIDER, OTHER = (Span(2, 4),), (Span(2, 6),), (Span(4, 6),)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """Six nodes and a client; each test leaves all of them running, with the blocks that they began with."""
    home = tmp_path_factory.mktemp("hosting")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with Replicas.running(network, write_tiny_exact_model(home / "model"), home) as made:
        yield made


async def settled(stage: Stage) -> None:
    """No session has anything left on it."""
    async with asyncio.timeout(5):
        while stage.server.hosting._tenants or len(stage.server.hosting.all_spans) > 1:
            await asyncio.sleep(0.01)


async def test_a_session_ends_on_the_blocks_on_which_it_began(net: Replicas) -> None:
    """The node goes from 2:4 to 2:6 in the middle of it; the next one is served by the new engine; the old one is gone."""
    wanted = request(PROMPT, 20)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    stage, tokens = net.node_of(session, 1), list[int]()
    old = stage.server.hosting.current[0]
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 5:
            await stage.server.hosting.change(WIDER)
            assert stage.server.hosting.all_spans == (*WIDER, *OWN)
    report = await session.finish()
    await settled(stage)
    assert (tuple(tokens), report.recoveries) == (right, ())
    assert stage.server.hosting.all_spans == WIDER
    rows = stage.server.hosting.current[0].batcher.load.rows
    assert (await generate(client, wanted))[0] == right
    assert stage.server.hosting.current[0].batcher.load.rows > rows
    await settled(stage)
    await stage.server.hosting.change(OWN)
    assert stage.server.hosting.current[0] is not old
    await client.close()


async def test_blocks_that_are_given_up_send_their_sessions_elsewhere(net: Replicas) -> None:
    """Closed, told to move, gone: the spare goes on, and other blocks are hosted in their place."""
    wanted = request(PROMPT, 20)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    stage, tokens = net.node_of(session, 1), list[int]()
    hosting = stage.server.hosting
    stage.server._sessions._shelf._keep_seconds = 0.2
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 5:
            hosting.retire(OWN)
            assert (hosting.spans, hosting.retiring_sessions) == ((), 1)
            hosting.move()
    report = await session.finish()
    assert await hosting.quiet(5.0)
    await hosting.change(OTHER)
    assert (hosting.spans, hosting.all_spans) == (OTHER, OTHER)
    assert tuple(tokens) == right
    assert [each.node for each in report.recoveries] == [stage.owner.address]
    stage.server._sessions._shelf._keep_seconds = KEEP_SECONDS
    await hosting.change(OWN)
    await client.close()


async def test_where_nobody_else_can_the_session_comes_back_and_ends_here(net: Replicas) -> None:
    """By the engine that was retired for it, while the node hosts other blocks already; a new session is sent away."""
    wanted = request(PROMPT, 20)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    stage, tokens = net.node_of(session, 1), list[int]()
    hosting = stage.server.hosting
    [spare] = [each for each in net.stages[SPANS[1]] if each is not stage]
    await net.stop(spare)
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 5:
            await hosting.change(OTHER)
            hosting.move()
        if len(tokens) == 15:
            assert (hosting.spans, hosting.all_spans, hosting.retiring_sessions) == (OTHER, (*OTHER, *OWN), 1)
            with pytest.raises(Refused) as caught:
                hosting.check_open(OWN[0])
    report = await session.finish()
    await settled(stage)
    assert tuple(tokens) == right
    assert [each.node for each in report.recoveries] == [stage.owner.address]
    assert caught.value.code is FailureCode.DRAINING
    assert hosting.all_spans == OTHER
    await hosting.change(OWN)
    await net.revive(spare)
    await client.close()
