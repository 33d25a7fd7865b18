"""A stage is lost in the middle of an answer: another takes over, and the text is the one that nothing had happened to."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection

import pytest
import pytest_asyncio
import torch

from node.attempts import Attempts
from node.refusals import FailureCode, Refused
from node.reports import Recovery
from sharding.sampling import SamplingParams
from tests.node.replicas import Replicas, client_of, expected
from tests.node.swarm import GREEDY, deploy_network, request, write_tiny_exact_model
from verification.addresses import Address

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLED = SamplingParams(1.5, 40, 0.95, 7)
PROMPT = tuple(range(20, 45))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """Six nodes and a client with money in reserve; each test leaves all of them running."""
    home = tmp_path_factory.mktemp("failover")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with Replicas.running(network, write_tiny_exact_model(home / "model"), home) as made:
        yield made


@pytest.mark.parametrize("params", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("after", [0, 1, 9, 18])
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_stage_that_ends_costs_no_token(net: Replicas, place: int, after: int, params: SamplingParams) -> None:
    """Before the first token, in the middle, near the end; the first, a middle, the last stage."""
    wanted = request(PROMPT, 38, params)  # more than a ring can be ahead of the client while a stage is being stopped
    right = await expected(net, wanted)
    heard: list[Recovery] = []
    client = client_of(net)
    session = await client.open(wanted, heard.append)
    lost, tokens = net.node_of(session, place), []
    if after == 0:
        await net.stop(lost)
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == after:
            await net.stop(lost)
    report = await session.finish()
    await net.revive(lost)

    assert tuple(tokens) == right
    assert [each.node for each in heard] == [lost.owner.address] == [each.node for each in report.recoveries]
    assert heard[0].stage == place
    assert lost.owner.address not in {stage.node for stage in report.route.stages}
    assert len(report.channels) == (2 if after or place else 1), (
        "nothing was promised where the first stage was gone at once"
    )
    await client.close()


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_those_that_are_left_keep_their_caches(net: Replicas, place: int) -> None:
    """A stage that is told to stop says so: those behind it do not take its end for the client's, nor do those before it."""
    wanted = request(PROMPT, 38)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    lost, tokens = net.node_of(session, place), list[int]()
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 9:
            await net.stop(lost)
    report = await session.finish()
    held = session.run.opened.held
    await net.revive(lost)
    await client.close()

    assert (tuple(tokens), len(report.recoveries)) == (right, 1)
    assert held[place] == 0
    # the last token is always computed anew, and a window may be open
    sure = len(PROMPT) + 9 - 1 - net.swarm.context.window
    assert all(have >= sure for index, have in enumerate(held) if index != place), held


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_stage_that_is_gone_after_the_last_token_costs_nothing(net: Replicas, place: int) -> None:
    """The answer is whole and comes with its bill, whoever is not there any more to hear that it is over."""
    wanted = request(PROMPT, 9)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    lost, tokens = net.node_of(session, place), [token async for token in session.tokens()]
    await net.stop(lost)
    report = await session.finish()
    await net.revive(lost)
    await client.close()

    assert (tuple(tokens), report.recoveries, report.tokens) == (right, (), right)
    assert report.paid == session.run.opened.price.session_cost(len(PROMPT), len(PROMPT) + 8, session.run.opened.held)


async def test_an_accepted_session_waits_for_a_replacement_that_is_full(
    net: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only node that could take a lost stage's place says busy twice: the client comes back when it is told to."""
    wanted = request(PROMPT, 38)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    lost, tokens, refusals = net.node_of(session, 1), list[int](), list[int]()
    [spare] = [stage for stage in net.stages["2:4"] if stage is not lost]
    claims = spare.server._sessions._claims
    check = claims._check_places

    def full(*args: object) -> None:
        if len(refusals) < 2:
            refusals.append(1)
            raise Refused(FailureCode.BUSY, "no room", retry_after_ms=20)
        check(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(claims, "_check_places", full)
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 3:
            await net.stop(lost)
    await session.finish()
    await net.revive(lost)
    await client.close()

    assert (tuple(tokens), len(refusals)) == (right, 2)


async def test_a_survivor_that_is_busy_for_ever_is_done_without(net: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says to come back in fifty days. There is another node for its blocks: nobody waits."""
    wanted = request(PROMPT, 38)
    right = await expected(net, wanted)
    client, waits = client_of(net), list[float]()
    session = await client.open(wanted)
    lost, busy, tokens = net.node_of(session, 1), net.node_of(session, 0), list[int]()

    def full(*args: object) -> None:
        raise Refused(FailureCode.BUSY, "no room", retry_after_ms=2**32 - 1)

    async def note(_attempts: Attempts, nodes: Collection[Address]) -> None:
        waits.append(_attempts.seconds_for(nodes))

    monkeypatch.setattr(busy.server._sessions._claims, "_check_places", full)
    monkeypatch.setattr(Attempts, "due", note)
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 3:
            await net.stop(lost)
    report = await session.finish()
    await net.revive(lost)
    await client.close()

    assert tuple(tokens) == right
    assert busy.owner.address not in {stage.node for stage in report.route.stages}
    assert not any(waits)


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_stage_that_becomes_slow_is_left(net: Replicas, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the time for each token: the rest is computed elsewhere, to the same text, though nobody failed."""
    monkeypatch.setattr("node.pace.SLOW_SECONDS", 0.01)
    wanted = request(PROMPT, 36)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    slow, tokens = net.node_of(session, place), list[int]()
    engine = slow.engine
    honest = engine.forward

    def slowly(batch: object) -> list[torch.Tensor]:
        time.sleep(0.15)
        return honest(batch)  # type: ignore[arg-type]

    try:
        async for token in session.tokens():
            tokens.append(token)
            if len(tokens) == 12:
                engine.forward = slowly  # type: ignore[method-assign]
        report = await session.finish()
    finally:
        engine.forward = honest  # type: ignore[method-assign]
    await client.close()

    assert tuple(tokens) == right
    assert [(each.node, each.reason) for each in report.recoveries] == [(slow.owner.address, "it has become slow")]


async def test_where_there_is_no_way_round_a_slow_stage_the_answer_goes_on(
    net: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that leads to nothing costs no token."""
    monkeypatch.setattr("node.pace.SLOW_SECONDS", 0.01)
    wanted = request(PROMPT, 36)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    slow, tokens = net.node_of(session, 1), list[int]()
    [spare] = [stage for stage in net.stages["2:4"] if stage is not slow]
    await net.stop(spare)
    engine = slow.engine
    honest = engine.forward

    def slowly(batch: object) -> list[torch.Tensor]:
        time.sleep(0.1)
        return honest(batch)  # type: ignore[arg-type]

    try:
        async for token in session.tokens():
            tokens.append(token)
            if len(tokens) == 12:
                engine.forward = slowly  # type: ignore[method-assign]
        report = await session.finish()
    finally:
        engine.forward = honest  # type: ignore[method-assign]
        await net.revive(spare)
    await client.close()

    assert tuple(tokens) == right
    assert slow.owner.address in {stage.node for stage in report.route.stages}
