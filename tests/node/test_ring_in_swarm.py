"""Tokens go round without the client: as far as the credit of its vouchers, to the same text, and past whoever lies."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from node.client_session import ClientSession
from node.errors import PeerUnreachable
from node.messages import MAX_STOP_TOKENS, Attached, Failure, Message, Ring, Start, message_frame, message_of
from node.open_sessions import OpenSessions
from node.refusals import FailureCode
from node.ring import Teller
from node.route_run import RouteRun
from node.stage_session import StageSession
from node.transport import Stream
from node.wire import Frame, FrameType, frame_to_token
from sharding.sampling import SamplingParams
from tests.node.link import pipe_of
from tests.node.replicas import Replicas, client_of, expected
from tests.node.swarm import (
    GREEDY,
    PER_TOKEN,
    Stage,
    Swarm,
    deploy_network,
    generate,
    request,
    running_swarm,
    write_tiny_exact_model,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = tuple(range(20, 45))
SAMPLED = SamplingParams(1.5, 40, 0.95, 7)
LIES_FROM = 3


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """Three stages with a spare each; each test leaves all of them running."""
    home = tmp_path_factory.mktemp("ring")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with Replicas.running(network, write_tiny_exact_model(home / "model"), home) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def alone(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """One node that is both ends of its routes."""
    home = tmp_path_factory.mktemp("ring-alone")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_exact_model(home / "model"), home, ("0:6",)) as swarm:
        yield swarm


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that must come true soon."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def over(swarm: Swarm) -> None:
    """Every session has ended everywhere."""
    await until(lambda: all(stage.server.active_sessions == 0 for stage in swarm.stages))


def stages_of(swarm: Swarm, run: RouteRun) -> list[StageSession]:
    """What the stages of a route have of it, in their order."""
    running = [stage.server._sessions._running.get(run.opened.digest, {}) for stage in swarm.stages]
    by_place = {place: session for each in running for place, session in each.items()}
    return [by_place[place] for place in sorted(by_place)]


def positions(swarm: Swarm, run: RouteRun) -> list[int]:
    """How far each stage is."""
    return [session.credit.positions for session in stages_of(swarm, run)]


@pytest.fixture
def whole_ring(net: Replicas, alone: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """No prompt is sent before the last stage has reached the first one."""
    honest = RouteRun._send_message

    async def send(run: RouteRun, message: Message) -> None:
        await honest(run, message)  # type: ignore[arg-type]
        if isinstance(message, Start):
            sessions = [*stages_of(net.swarm, run), *stages_of(alone, run)]
            await until(lambda: sessions[0]._hearing._ring.done())
            teller = sessions[-1].teller
            await until(lambda: teller._ring is not None)

    monkeypatch.setattr(RouteRun, "_send_message", send)


def swarm_of(name: str, net: Replicas, alone: Swarm) -> Swarm:
    return net.swarm if name == "three" else alone


async def come(run: RouteRun, count: int) -> list[int]:
    """The next tokens on the client's stream, which feeds none of them."""
    async with asyncio.timeout(5):
        return [frame_to_token(await run.opened.tokens.recv(), 96) for _ in range(count)]


@pytest.mark.usefixtures("whole_ring")
@pytest.mark.parametrize("name", ["one", "three"])
async def test_tokens_come_without_the_clients_frames_until_the_credit_is_used_up(
    net: Replicas, alone: Swarm, name: str
) -> None:
    """The prompt's token and a window of them, not one more; each voucher lets so many more come."""
    swarm = swarm_of(name, net, alone)
    right, _ = await generate(swarm.client, request(PROMPT, 20))
    session = await swarm.client.open(request(PROMPT, 20))
    run, window = session.run, swarm.context.window
    await run.begin()
    tokens = await come(run, 1 + window)
    for paid in (2, 3):
        await asyncio.sleep(0.1)
        assert set(positions(swarm, run)) == {len(PROMPT) + len(tokens) - 1}
        await run._pay(len(PROMPT) + len(tokens) - 1 - window + paid)
        tokens += await come(run, paid)
    await asyncio.sleep(0.1)
    assert set(positions(swarm, run)) == {len(PROMPT) + len(tokens) - 1}
    assert tuple(tokens) == right[: len(tokens)]
    await session.abandon()
    await over(swarm)


@pytest.mark.usefixtures("whole_ring")
@pytest.mark.parametrize("name", ["one", "three"])
async def test_a_client_that_stops_early_pays_and_uses_the_channel_again(
    net: Replicas, alone: Swarm, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What the ring was ahead is owed, shown by the stages with the next request, and paid by it to the unit."""
    swarm = swarm_of(name, net, alone)
    right, _ = await generate(swarm.client, request(PROMPT, 30))
    session = await swarm.client.open(request(PROMPT, 30))
    window, first = swarm.context.window, None
    async for _ in session.tokens():
        if len(session.generated) == 6:
            fed = session.run.positions
            await until(lambda: min(positions(swarm, session.run)) >= fed + 2)  # noqa: B023
            break
    with caplog.at_level(logging.WARNING):
        first = await session.finish()
    assert "did not confirm" not in caplog.text, "tokens that nobody took come before the answer to Close"
    await over(swarm)
    left = swarm.context.book.get(first.channel)
    held = [stage.ledger.held(first.channel) for stage in swarm.stages if stage.owner.address in owners(session)]
    assert (left.state, left.owing) == ("open", window * PER_TOKEN)
    assert all(0 < each.earned - left.cumulative <= left.owing for each in held)

    for _ in range(2):
        tokens, report = await generate(swarm.client, request(PROMPT, 30))
        await over(swarm)
        assert (tokens, report.channel) == (right, first.channel)  # type: ignore[attr-defined]
    held = [stage.ledger.held(first.channel) for stage in swarm.stages if stage.owner.address in owners(session)]
    assert {each.cumulative for each in held} == {max(each.earned for each in held)}
    assert swarm.context.book.get(first.channel).owing == 0


def owners(session: ClientSession) -> set[str]:
    return {stage.node for stage in session.run.opened.route.stages}


@pytest.mark.usefixtures("whole_ring")
@pytest.mark.parametrize(("spare", "is_told"), [(MAX_STOP_TOKENS - 1, True), (MAX_STOP_TOKENS, False)])
async def test_stop_tokens_end_the_ring_where_the_stages_know_them(net: Replicas, spare: int, is_told: bool) -> None:
    """64 are told to them; with one more they may be ahead, and the next request on the channel is still a good one."""
    swarm = net.swarm
    right, _ = await generate(swarm.client, request(PROMPT, 30))
    at = next(at for at in range(5, 20) if right[at] not in right[:at])
    stops = frozenset({right[at], *range(1000, 1000 + spare)})
    session = await swarm.client.open(replace(request(PROMPT, 30), stop_tokens=stops))
    tokens = tuple([token async for token in session.tokens()])
    assert (tokens, session.run.is_over) == (right[: at + 1], is_told)
    report = await session.finish()
    await over(swarm)
    assert swarm.context.book.get(report.channel).owing == (0 if is_told else 4 * PER_TOKEN)
    tokens, again = await generate(swarm.client, request(PROMPT, 30))
    await over(swarm)
    assert (tokens, again.channel) == (right, report.channel)  # type: ignore[attr-defined]


@pytest.mark.parametrize("params", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
async def test_without_a_ring_everything_is_as_with_one(
    net: Replicas, params: SamplingParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first stage that the last one cannot dial, or that it is not told of: the client's frames are the way."""
    with_ring, paid = await generate(net.swarm.client, request(PROMPT, 30, params))

    async def unreachable() -> Stream:
        raise PeerUnreachable("wss://first", "nobody listens there")

    for way in (lambda *_: unreachable, lambda *_: None):
        monkeypatch.setattr(OpenSessions, "_way_to_first", way)
        tokens, report = await generate(net.swarm.client, request(PROMPT, 30, params))
        assert tokens == with_ring
        assert report.paid == paid.paid  # type: ignore[attr-defined]


def lying(liar: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From the third token on this node tells its first stages another token than the client; returns what it told."""
    honest, told = Teller.tell, list[int]()

    async def tell(teller: Teller, sampled: Frame) -> None:
        if teller._terms.route.stages[-1].node == liar and sampled.position >= len(PROMPT) + LIES_FROM - 1:
            other = (frame_to_token(sampled, 96) + 1) % 96
            told.append(other)
            sampled = replace(sampled, payload=other.to_bytes(4, "little"))
        await honest(teller, sampled)

    monkeypatch.setattr(Teller, "tell", tell)
    return told


@pytest.mark.usefixtures("whole_ring")
@pytest.mark.parametrize("params", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
async def test_a_last_stage_that_lies_to_the_first_one_is_left_and_nothing_of_it_stays(
    net: Replicas, params: SamplingParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its spare goes on, and no stage takes what was computed from the lie into the new route.

    What comes before the first stage has both words is the last stage's word alone, as every token is.
    """
    wanted = request(PROMPT, 30, params)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    liar = net.node_of(session, 2)
    told = lying(liar.owner.address, monkeypatch)
    tokens = tuple([token async for token in session.tokens()])
    held, known = session.run.opened.held, session.run._known
    report = await session.finish()
    await client.close()
    count = len(known) - len(PROMPT)
    monkeypatch.undo()
    anew, _ = await generate(net.swarm.client, request(known, 30 - count, params))

    assert told
    assert [(each.stage, each.node) for each in report.recoveries] == [(2, liar.owner.address)]
    assert "the last stage told the first one token" in report.recoveries[0].reason
    assert net.node_of(session, 2) is not liar
    assert tokens[:LIES_FROM] == right[:LIES_FROM]
    assert tokens[count:] == anew, "as if all that is known had been computed from the beginning"
    assert held[0] == len(PROMPT) + LIES_FROM - 1


async def test_a_lie_that_comes_after_the_clients_word_changes_nothing(
    net: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is slower is not heard."""
    wanted = request(PROMPT, 30)
    right = await expected(net, wanted)
    session = await net.swarm.client.open(wanted)
    last = net.node_of(session, 2)
    honest = Teller.tell

    async def tell_late(teller: Teller, sampled: Frame) -> None:
        first = net.node_of(session, 0).server._sessions._running[session.run.opened.digest][0]
        lie = replace(sampled, payload=((frame_to_token(sampled, 96) + 1) % 96).to_bytes(4, "little"))

        async def later() -> None:
            while first.credit.positions <= sampled.position and not first.ended.is_set():
                await asyncio.sleep(0.001)
            await honest(teller, lie)

        tasks.append(asyncio.create_task(later()))

    tasks: list[asyncio.Task[None]] = []
    monkeypatch.setattr(Teller, "tell", tell_late)
    tokens = tuple([token async for token in session.tokens()])
    report = await session.finish()
    await asyncio.gather(*tasks)

    assert (tokens, report.recoveries) == (right, ())
    assert net.node_of(session, 2) is last


@pytest.mark.usefixtures("whole_ring")
@pytest.mark.parametrize("place", [1, 2])
async def test_only_what_the_client_has_confirmed_outlives_a_route(net: Replicas, place: int) -> None:
    """The first stage has compared the client's frames, the others go by its vouchers; what was ahead is computed again."""
    wanted = request(PROMPT, 38)
    right = await expected(net, wanted)
    client = client_of(net)
    session = await client.open(wanted)
    lost, tokens, run = net.node_of(session, place), list[int](), session.run
    fed = paid = ahead = 0
    async for token in session.tokens():
        tokens.append(token)
        if len(tokens) == 8:
            fed, paid = run.positions, run._paid_positions
            await until(lambda: min(positions(net.swarm, run)) == paid + 4)  # noqa: B023
            ahead = paid + 4
            confirmed = [each._kept.confirmed for each in stages_of(net.swarm, run)]
            await net.stop(lost)
            await until(lambda: pipe_of(run.opened.control)._inbox.ended is not None)  # type: ignore[attr-defined]
    held = session.run.opened.held
    report = await session.finish()
    await net.revive(lost)
    await client.close()

    assert tuple(tokens) == right
    assert [each.node for each in report.recoveries] == [lost.owner.address]
    assert confirmed == [fed, paid, paid]
    assert paid < fed < ahead
    assert [held[0], held[place], held[3 - place]] == [fed, 0, paid]


async def said(caller: Stage, to: Stage, ring: Ring, run: RouteRun) -> Message:
    """What a node answers another that asks to tell it tokens."""
    async with await caller.context.transport.dial(to.endpoint, to.identity.peer) as stream:
        await stream.send(message_frame(ring, run._session, 0))
        return message_of(await stream.recv())


def code_of(answer: Message) -> FailureCode:
    assert isinstance(answer, Failure), answer
    return FailureCode.read(answer.code)


@pytest.mark.usefixtures("whole_ring")
async def test_only_the_last_stage_tells_only_the_first_and_only_once(net: Replicas) -> None:
    """Another stage of the route, a node that is not on it, the client; a stage that is not the first; a second ring."""
    session = await net.swarm.client.open(request(PROMPT, 12))
    run = session.run
    first, middle, last = (net.node_of(session, place) for place in range(3))
    [stranger] = [stage for stage in net.stages["4:6"] if stage is not last]
    ring = Ring(run.opened.digest)
    for caller, to in ((middle, first), (first, first), (stranger, first), (last, middle), (last, last)):
        assert code_of(await said(caller, to, ring, run)) is FailureCode.UNKNOWN_SESSION
    assert code_of(await said(last, first, Ring(bytes(32)), run)) is FailureCode.UNKNOWN_SESSION
    async with await net.swarm.context.transport.dial(first.endpoint, first.identity.peer) as stream:
        await stream.send(message_frame(ring, run._session, 0))
        assert code_of(message_of(await stream.recv())) is FailureCode.UNKNOWN_SESSION
    assert not stages_of(net.swarm, run)[0]._hearing._ring.done()

    text = session.tokens()
    tokens = [await anext(text)]
    assert code_of(await said(last, first, ring, run)) is FailureCode.PROTOCOL
    tokens += [token async for token in text]
    await session.finish()
    assert tuple(tokens) == await expected(net, request(PROMPT, 12))


async def test_whoever_is_asked_first_has_the_ring(net: Replicas) -> None:
    """A last stage may ask before the prompt is there; it is told yes, and what it tells then is judged."""
    session = await net.swarm.client.open(request(PROMPT, 12))
    run = session.run
    first, last = net.node_of(session, 0), net.node_of(session, 2)
    async with await last.context.transport.dial(first.endpoint, first.identity.peer) as stream:
        await stream.send(message_frame(Ring(run.opened.digest), run._session, 0))
        assert isinstance(message_of(await stream.recv()), Attached)
        told = Frame(FrameType.TOKENS, b"\5\0\0\0", session=run._session, position=0, shape=(1,))
        await stream.send(replace(told, dtype=2))  # type: ignore[arg-type]
        async with asyncio.timeout(5):
            error = await run.failure
    assert (error.code, error.stage) == (FailureCode.PROTOCOL, 2)
    await session.abandon()
    await over(net.swarm)


async def test_a_second_start_is_refused(net: Replicas) -> None:
    """Or one client's small messages would have the last stage dial the first one without end."""
    session = await net.swarm.client.open(request(PROMPT, 12))
    run = session.run
    for _ in range(2):
        await run._send_message(Start(held=run.opened.held))
    async with asyncio.timeout(5):
        error = await run.failure
    assert (error.code, error.stage) == (FailureCode.PROTOCOL, 0)
    await session.abandon()
    await over(net.swarm)
