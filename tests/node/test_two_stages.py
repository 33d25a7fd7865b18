"""One node as two stages of a route: A computes 0:2 and 4:6, B what lies between. The text, the money, and a B that is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from incentives.payees import share_of
from node.client import Client
from node.client_context import ClientContext
from node.client_errors import SessionFailed
from node.client_session import ClientSession
from node.errors import NoRoute
from node.messages import Attach, Failure, Message, Open, Probe, Progress, for_stage, message_frame, message_of
from node.model_folder import engine_loader
from node.network import Network
from node.refusals import FailureCode
from node.reports import Report, Request
from node.route_opening import Draft, Wanted
from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.conftest import ask
from tests.node.swarm import (
    ASK,
    GREEDY,
    PARAMS,
    PER_TOKEN,
    Stage,
    Swarm,
    deploy_network,
    request,
    running_client,
    running_stage,
    write_tiny_exact_model,
)
from tests.node.test_routing_in_swarm import reading_client, take_part, tell_all
from tests.sharding.chains import greedy
from verification.addresses import Address, to_address
from verification.routes import RouteStage

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = tuple(range(20, 45))
SAMPLED = SamplingParams(0.9, 12, 0.95, 7)


@dataclass
class Net:
    """A, and B with a spare."""

    swarm: Swarm
    network: Network
    home: Path
    stacks: dict[str, AsyncExitStack]
    ends: Stage
    middles: list[Stage]

    async def stop(self, stage: Stage) -> None:
        """It ends at once."""
        await self.stacks.pop(stage.owner.address).aclose()

    async def start(self, place: int) -> None:
        """Run a B, or run it again."""
        span, stack = Span(2, 4), AsyncExitStack()
        home = self.home / f"middle{place}"
        stage = await stack.enter_async_context(running_stage(self.network, self.swarm.model, home, 2 + place, span))
        self.stacks[stage.owner.address] = stack
        self.middles[place : place + 1] = [stage]
        self.swarm.stages = [self.ends, *self.middles]
        self.swarm.forget_directories()

    def route(self, middle: Stage) -> tuple[RouteStage, ...]:
        """A, a B, A again."""
        ends, between = to_address(self.ends.owner.address), to_address(middle.owner.address)
        return RouteStage(ends, 0, 2, ASK), RouteStage(between, 2, 4, ASK), RouteStage(ends, 4, 6, ASK)

    def client(self) -> "OneWay":
        """One that has seen no failure yet."""
        return OneWay(self.swarm.context, [self.route(middle) for middle in self.middles])

    def balances(self) -> list[int]:
        """Of A and of the first B."""
        return [self.network.token.balance_of(stage.owner.address) for stage in (self.ends, self.middles[0])]


class OneWay(Client):
    """Takes the first of its routes that has no node left out."""

    def __init__(self, context: ClientContext, routes: Sequence[tuple[RouteStage, ...]]) -> None:
        super().__init__(context)
        self.routes = routes
        self.drafts: list[tuple[Draft, Wanted]] = []

    async def _plan(self, excluded: frozenset[Address], request: Request, *_: object) -> tuple[RouteStage, ...]:
        """As Client."""
        left_out = excluded | self.planner.shunned.nodes()
        for route in self.routes:
            if not left_out & {stage.node for stage in route}:
                return route
        raise NoRoute([], 6)

    async def _accept(self, draft: Draft, wanted: Wanted):  # type: ignore[no-untyped-def]
        """As Client."""
        self.drafts.append((draft, wanted))
        return await super()._accept(draft, wanted)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Net]:
    """All three nodes and a client; each test leaves all of them running."""
    home = tmp_path_factory.mktemp("two-stages")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    model = write_tiny_exact_model(home / "model")
    async with AsyncExitStack() as stack:
        ends = await stack.enter_async_context(
            running_stage(network, model, home / "ends", 1, Span(0, 2), others=(Span(4, 6),))
        )
        swarm = await stack.enter_async_context(running_client(network, model, home / "client", [ends]))
        made = Net(swarm, network, home, {}, ends, [])
        try:
            for place in range(2):
                await made.start(place)
            yield made
        finally:
            for each in list(made.stacks.values()):
                await each.aclose()


@pytest.fixture(scope="module")
def truth(net: Net) -> Callable[[int], tuple[int, ...]]:
    """The greedy text by one engine over all blocks."""
    whole = engine_loader(net.swarm.model)(net.swarm.model, Span(0, 6))
    return lambda count: tuple(greedy([whole], PROMPT, count))


async def finished(session: ClientSession) -> tuple[tuple[int, ...], Report]:
    tokens = tuple([token async for token in session.tokens()])
    return tokens, await session.finish()


async def generated(client: Client, count: int, sampling: SamplingParams = GREEDY) -> tuple[tuple[int, ...], Report]:
    return await finished(await client.open(request(PROMPT, count, sampling)))


async def over(net: Net) -> None:
    """Every session has ended everywhere."""
    async with asyncio.timeout(5):
        while any(stage.server.active_sessions for stage in net.swarm.stages):
            await asyncio.sleep(0.01)


async def said(net: Net, stage: Stage, message: Message, session: bytes) -> Message:
    """What a node answers to a message that begins a stream."""
    async with await net.swarm.context.transport.dial(stage.endpoint, stage.identity.peer) as stream:
        await stream.send(message_frame(message, session, 0))
        return message_of(await stream.recv())


async def test_the_text_is_the_single_engines(net: Net, truth: Callable[[int], tuple[int, ...]]) -> None:
    """Round the ring A, B, A; both of A's stages let go at the end."""
    tokens, report = await generated(net.client(), 20)
    await over(net)
    assert tokens == truth(20)
    assert [stage.node for stage in report.route.stages] == [stage.node for stage in net.route(net.middles[0])]
    assert [len(hosted.batcher.runner._tenants) for hosted in net.ends.server.hosting.current] == [0, 0]


async def all_collected(net: Net) -> None:
    """What both have earned is settled, ripe and drawn."""
    for _ in range(2):
        for stage in (net.ends, net.middles[0]):
            await asyncio.to_thread(stage.settlement(net.network).round, at_once=True)
        ask(net.network.chain.url, "evm_increaseTime", 2 * PARAMS.maturity_s)
        ask(net.network.chain.url, "evm_mine")


async def test_it_is_paid_right_to_the_unit(net: Net) -> None:
    """One voucher for the whole route on A's disk, earned once; of 8 shares beside the pool's A collects 3 and 3, B 2."""
    _, report = await generated(net.client(), 11)
    await over(net)
    held = net.ends.ledger.held(report.channel)
    assert report.paid == -(-len(PROMPT) * PER_TOKEN // 8) + 10 * PER_TOKEN
    assert (held.earned, held.indexes) == (held.cumulative, (0, 2))
    assert [bill.payee.weight_bps for bill in report.stages] == [3656, 2438, 3656]

    await all_collected(net)  # what other tests have left
    before = net.balances()
    _, report = await generated(net.client(), 11)
    await over(net)
    await all_collected(net)
    gained = [new - old for new, old in zip(net.balances(), before, strict=True)]
    shares = [2 * share_of(report.paid, 3656), share_of(report.paid, 2438)]
    assert all(0 <= got - share <= 2 for got, share in zip(gained, shares, strict=True))  # what was rounded off before
    assert net.ends.ledger.held(report.channel).earned == net.network.channels.state(report.channel).settled


async def test_sessions_share_a_channel_one_after_the_other(net: Net) -> None:
    """Two generations by turns; of three at once each has its own."""
    client = net.client()
    _, first = await generated(client, 4)
    _, second = await generated(client, 4)
    assert first.channel == second.channel
    sessions = await asyncio.gather(*(client.open(request(PROMPT, 12)) for _ in range(3)))
    texts = await asyncio.gather(*map(finished, sessions))
    assert len({tokens for tokens, _ in texts}) == 1
    assert len({report.channel for _, report in texts}) == 3


async def test_the_last_place_of_a_node_is_enough_for_both_its_stages(
    net: Net, truth: Callable[[int], tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A is full when the route comes by the second time: by its own place."""
    monkeypatch.setattr(net.ends.server._sessions._claims, "_max_sessions", 1)
    assert (await generated(net.client(), 5))[0] == truth(5)
    await over(net)


@pytest.mark.parametrize("after", [0, 1, 9, 18])
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
async def test_a_lost_middle_costs_no_token(net: Net, after: int, sampling: SamplingParams) -> None:
    """Both of A's stages keep their caches and go on with the other B; the text is the same, and the money."""
    length = 38  # more than a ring can be ahead of the client while a stage is being stopped
    right, _ = await generated(net.client(), length, sampling)
    client = net.client()
    session = await client.open(request(PROMPT, length, sampling))
    lost, tokens = net.middles[0], []
    if after == 0:
        await net.stop(lost)
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == after:
            await net.stop(lost)
    report = await session.finish()
    await over_but(net, lost)
    channels = {bill.channel: net.ends.ledger.held(bill.channel) for bill in report.channels}
    await net.start(0)

    assert tuple(tokens) == right
    assert [(each.stage, each.node) for each in report.recoveries] == [(1, lost.owner.address)]
    assert [stage.node for stage in report.route.stages] == [stage.node for stage in net.route(net.middles[1])]
    if after:
        assert any(session.run.opened.held[::2]), "A does not begin anew"
    certain = report.channels if after else report.channels[-1:]  # an undelivered route's promise may be lost with it
    for bill in certain:
        assert channels[bill.channel].cumulative == bill.promised
    assert channels[report.channel].earned == channels[report.channel].cumulative
    await client.close()


async def over_but(net: Net, lost: Stage) -> None:
    async with asyncio.timeout(5):
        while any(stage.server.active_sessions for stage in net.swarm.stages if stage is not lost):
            await asyncio.sleep(0.01)


async def test_each_stage_tells_its_own_progress(net: Net) -> None:
    """A probe says which stage is meant, and B's are not A's; the tokens come from the last one."""
    client = net.client()
    session = await client.open(request(PROMPT, 8))
    text = session.tokens()
    await anext(text)
    route, name = session.run.opened.digest, session.run._session
    for stage, node in ((0, net.ends), (1, net.middles[0]), (2, net.ends)):
        progress = await said(net, node, Probe(route, stage), name)
        assert isinstance(progress, Progress)
        assert progress.computed >= len(PROMPT)
    for stage, node in ((1, net.ends), (3, net.ends), (0, net.middles[0])):
        assert isinstance(await said(net, node, Probe(route, stage), name), Failure)
    again = await said(net, net.ends, Attach(route), name)
    assert isinstance(again, Failure), "the last stage has a stream for its tokens"
    await session.abandon()
    await client.close()


def refused(answer: Message) -> tuple[FailureCode, str]:
    assert isinstance(answer, Failure), answer
    return FailureCode.read(answer.code), answer.message


async def test_nobody_opens_a_stage_but_the_one_before_it(net: Net) -> None:
    """The client asks for A's last stage itself, for B's by A, and for one that the route does not have."""
    client = net.client()
    _, _ = await generated(client, 2)
    draft, wanted = client.drafts[-1]
    opening = draft.opening(wanted)
    assert isinstance(opening, Open)
    session = draft.route.nonce[:16]
    for stage, reason in ((2, "before this stage"), (1, "is not this node"), (3, "is not this node")):
        code, text = refused(await said(net, net.ends, for_stage(opening, stage), session))
        assert (code, reason in text) == (FailureCode.WRONG_ROUTE, True), text
    code, _ = refused(await said(net, net.ends, for_stage(opening, 0), session))
    assert code == FailureCode.STALE_EPOCH, "the first stage of this very route was served"


async def test_two_stages_in_a_row_are_one(net: Net) -> None:
    """A node that has both blocks is named once for both: it would have to dial itself."""
    ends, between, last = net.route(net.middles[0])
    client = OneWay(
        net.swarm.context, [(RouteStage(ends.node, 0, 1, ASK), RouteStage(ends.node, 1, 2, ASK), between, last)]
    )
    with pytest.raises(SessionFailed, match="in a row") as caught:
        await client.open(request(PROMPT, 2))
    assert caught.value.code == FailureCode.WRONG_ROUTE
    await client.close()


async def test_a_second_stream_takes_the_tokens_of_the_last_stage(net: Net) -> None:
    """Attach goes to the last stage of the two, or the text would never come."""
    client = net.client()
    session = await client.open(request(PROMPT, 2))
    running = net.ends.server._sessions._running[session.run.opened.digest]
    assert sorted(running) == [0, 2]
    assert (running[0]._sink.done(), running[2]._sink.done()) == (False, True)
    tokens, _ = await finished(session)
    assert len(tokens) == 2
    await client.close()


async def test_a_client_finds_the_way_by_the_records(net: Net, truth: Callable[[int], tuple[int, ...]]) -> None:
    """The chain knows one span of A; its record tells of both, and only with both is there a route."""
    gossips = [await take_part(net.swarm, stage) for stage in (net.ends, *net.middles)]
    await tell_all(gossips)
    [told] = [each for each in gossips[0].live() if each.node == net.ends.owner.address]
    assert [each.span for each in told.spans] == [Span(0, 2), Span(4, 6)]
    async with reading_client(net.swarm) as client:
        tokens, report = await generated(client, 8)
    await over(net)
    for gossip in gossips:
        await gossip.close()
    assert tokens == truth(8)
    assert [stage.node for stage in report.route.stages][::2] == [net.ends.owner.address] * 2
