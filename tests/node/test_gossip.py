"""The exchange of records between nodes and readers: what is said once is soon known, and no liar keeps it from being."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from incentives.errors import ChainUnavailable
from node.errors import MalformedMessage, NodeError, PeerClosed, PeerRefused, ProtocolViolation
from node.gossip import READ_SECONDS, SILENT_SECONDS, STALE_SECONDS
from node.gossip_exchange import END, GOSSIP_SESSION, MAX_BATCHES, gossip_frame, gossip_of, summary_within
from node.messages import Close, message_frame
from node.record_book import MAX_FORGERIES, sign_record
from node.record_messages import MAX_GOSSIP_BYTES, Records, Summary, encode_record
from node.refusals import FailureCode, Refused
from node.transport import Stream
from node.wire import Frame, FrameType
from tests.faults.virtual_time import EPOCH, run_virtual
from tests.node.gossips import IDLE, Peer, Town, Wishes
from tests.node.records import DOMAIN, address, key, nodes_in, record, signed
from verification.addresses import address_bytes
from verification.node_records import SignedServiceRecord

T = TypeVar("T")
NOW = int(EPOCH)
EVERYTHING = Summary(bytes(20), b"\xff" * 20, ())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """In virtual time."""
    return run_virtual(coroutine)


async def stream_to(dialer: Peer, peer: Peer) -> Stream:
    """A stream to a node, for what an honest node would not say."""
    assert peer.listener is not None
    return await dialer.transport.dial(peer.listener.endpoint, peer.number.to_bytes(32, "big"))


async def settled() -> None:
    """Whoever has something to do has done it."""
    await asyncio.sleep(0.01)


# What is said is known


def test_a_record_reaches_a_node_that_never_talked_to_its_author() -> None:
    """From 1 to 2, and from there to 3."""

    async def main() -> None:
        chance = Wishes()
        first, second, third = await (town := Town((1, 2, 3), chance)).all()
        await first.gossip.publish()
        for asker in (first, third):
            chance.wanted = (2,)
            assert await asker.gossip.round() == 1
            await settled()

        assert second.holds() == third.holds() == [address(1)]
        assert third.gossip.endpoint_of(address(1)) == "memory://node1:1"
        assert town.peers[3].gossip.live() == first.gossip.live()

    run(main())


def test_everybody_knows_everybody_soon_and_a_dead_nodes_record_fades() -> None:
    """Twelve nodes that ask two others every three seconds."""

    async def main() -> None:
        peers = await (town := Town(range(1, 13))).all()
        tasks = {each.number: asyncio.create_task(each.gossip.run()) for each in peers}
        await asyncio.sleep(15.0)
        assert [each.holds() for each in peers] == [[address(number) for number in town.numbers]] * 12

        tasks[5].cancel()
        assert peers[4].listener is not None
        await peers[4].listener.close()
        await asyncio.sleep(20.0)
        assert all(address(5) in each.holds() for each in peers), "a record lives for half a minute"
        await asyncio.sleep(25.0)
        left = [each for each in peers if each.number != 5]
        assert [each.holds() for each in left] == [[address(n) for n in town.numbers if n != 5]] * 11
        assert not any(each.refused for each in peers)

    run(main())


def test_a_change_is_told_at_once() -> None:
    """Draining, full, or a long queue: within two seconds the others know."""

    async def main() -> None:
        peers = await Town((1, 2, 3)).all()
        tasks = [asyncio.create_task(each.gossip.run()) for each in peers]
        await asyncio.sleep(10.5)
        for change in ({"draining": True}, {"free_pages": 0}, {"queue": 500}):
            peers[0].load.append(replace(IDLE, **change))
            await asyncio.sleep(2.0)
            for other in peers[1:]:
                told = other.gossip.book.get(address(1), EPOCH + asyncio.get_running_loop().time())
                assert told is not None
                assert {name: getattr(told, name) for name in change} == change
        del tasks

    run(main())


def test_a_nudge_does_not_wait_for_the_next_look() -> None:
    """Whoever begins to drain can say so."""

    async def main() -> None:
        first, second = await Town((1, 2)).all()
        tasks = [asyncio.create_task(each.gossip.run()) for each in (first, second)]
        await asyncio.sleep(4.5)
        first.load.append(replace(IDLE, draining=True))
        first.gossip.nudge()
        await settled()

        assert [each.draining for each in second.gossip.live()] == [True, False]
        del tasks

    run(main())


def test_a_restarted_node_is_found_at_its_new_port_before_the_chain_knows() -> None:
    """Its record names it, under the chain's TLS key; whoever asks it next dials there."""

    async def main() -> None:
        chance = Wishes()
        first, second, third = await (town := Town((1, 2, 3), chance)).all()
        chance.wanted = (2,)
        await first.gossip.publish()
        await first.gossip.round()
        assert first.listener is not None
        await first.listener.close()
        again = await town.node(1, port=2)
        await asyncio.sleep(1.0)
        await again.gossip.publish()
        for asker in (again, third):
            await asker.gossip.round()
            await settled()

        assert (await third.directory.record(address(1))).endpoint == "memory://node1:2"
        assert (await second.directory.records())[address(1)].endpoint == "memory://node1:2"
        chance.wanted = (1,)
        assert await third.gossip.round() == 1

    run(main())


def test_a_node_goes_past_what_others_hold_of_it() -> None:
    """Its clock was ahead in an earlier life: its own old record comes back to it, and the next one is above that."""

    async def main() -> None:
        chance = Wishes()
        first, second = await Town((1, 2), chance).all()
        early = replace(record(1, sequence=2**60, issued=NOW), endpoint="memory://node1:1")
        await second.gossip.publish()
        second.gossip.book.add(sign_record(early, key(1), DOMAIN), NOW)
        chance.wanted = (2,)
        for _ in range(2):
            await first.gossip.publish()
            await first.gossip.round()
            await settled()

        assert second.gossip.live()[0].sequence == 2**60 + 1
        assert second.gossip.live()[0].free_pages == IDLE.free_pages

    run(main())


def test_records_go_on_while_the_chain_is_away() -> None:
    """By its last view; without any there is nothing to go by."""

    async def main() -> None:
        first, second = await Town((1, 2)).all()
        first.directory.problem = ChainUnavailable("http://chain.test", "down")
        with pytest.raises(ChainUnavailable):
            await first.gossip.publish()
        first.directory.problem = None
        await first.gossip.publish()
        first.directory.problem = ChainUnavailable("http://chain.test", "down")
        await asyncio.sleep(11.0)

        assert await first.gossip.publish()
        assert await first.gossip.round() == 1
        await second.gossip.publish()
        await first.gossip.round()
        assert first.holds() == [address(1), address(2)]

    run(main())


def test_a_node_that_is_not_on_the_chain_yet_publishes_as_soon_as_it_is() -> None:
    """The refusal is named, and nothing has to expire first."""

    async def main() -> None:
        first, _ = await (town := Town((1, 2))).all()
        own = town.chain.pop(address(1))
        with pytest.raises(NodeError, match="join first"):
            await first.gossip.publish()
        first.directory.chain = town.chain | {address(1): own}

        assert await first.gossip.publish()

    run(main())


# Readers


def test_a_reader_gets_everything_and_gives_nothing() -> None:
    """A client has no record, and what it holds is not asked for."""

    async def main() -> None:
        first, second = await (town := Town((1, 2))).all()
        await first.gossip.publish()
        await second.gossip.publish()
        reader, heard = town.reader(8), []
        reader.gossip.on_round_trip = lambda node, seconds: heard.append(node)
        await reader.gossip.freshen()

        assert reader.holds() == [address(1), address(2)]
        assert sorted(heard) == [address(1), address(2)]
        assert first.holds() == [address(1)]

    run(main())


def test_a_request_waits_no_longer_than_a_third_of_a_second_for_records() -> None:
    """The asking goes on behind it; then a moment is enough for all that come within five seconds."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        town = Town((1,))
        reader = town.reader(8)
        gate = asyncio.Event()

        async def slow(stream: Stream) -> None:
            frame = await stream.recv()
            await gate.wait()
            await first.gossip.answer(stream, frame)

        first = town.reader(1)
        await first.transport.listen("node1", 1, slow)
        await first.gossip._anchor()
        first.gossip.book.add(sign_record(replace(record(1, issued=NOW)), key(1), DOMAIN), NOW)
        await reader.gossip.freshen()
        assert loop.time() == pytest.approx(READ_SECONDS)
        assert reader.holds() == []
        gate.set()
        await settled()
        assert reader.holds() == [address(1)], "what was asked for still came"

        began = loop.time()
        await reader.gossip.freshen()
        assert loop.time() == began, "fresh enough"
        gate.clear()
        await asyncio.sleep(STALE_SECONDS)
        began = loop.time()
        await reader.gossip.freshen()
        assert loop.time() == pytest.approx(began + READ_SECONDS)
        await reader.gossip.close()

    run(main())


def test_without_anybody_to_ask_a_request_is_not_held_up() -> None:
    """No node, or none that answers, or a chain that is away: no record, no error."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for town in (Town(()), Town((1, 2))):
            reader = town.reader(8)
            await reader.gossip.freshen()
            assert reader.holds() == []
        down = Town((1,)).reader(8)
        down.directory.problem = ChainUnavailable("http://chain.test", "down")
        await down.gossip.freshen()
        assert loop.time() == 0.0

    run(main())


def test_who_was_silent_is_left_alone_for_a_while_where_there_are_others() -> None:
    """And asked again where there are none."""

    async def main() -> None:
        town = Town((1, 2))
        first = await town.node(1)
        reader = town.reader(8)
        assert await reader.gossip.round() == 1
        assert [each.node for each in reader.gossip._choose(2)] == [address(1)]
        await asyncio.sleep(SILENT_SECONDS)
        assert len(reader.gossip._choose(2)) == 2

        assert first.listener is not None
        await first.listener.close()
        assert await reader.gossip.round() == 0
        assert len(reader.gossip._choose(2)) == 2

    run(main())


# Hostile peers


def spoilt(kind: str) -> bytes:
    """A record of node 1 that nobody may keep."""
    sent = {
        "forged": SignedServiceRecord(record(1, issued=NOW), bytes(64)),
        "another's": sign_record(record(1, issued=NOW), key(2), DOMAIN),
        "expired": signed(1, issued=NOW - 500),
        "from the future": signed(1, issued=NOW + 500),
        "unstaked": signed(9, issued=NOW),
    }
    return b"\xc1" if kind == "unreadable" else encode_record(sent[kind])


@pytest.mark.parametrize("kind", ["forged", "another's", "expired", "from the future", "unstaked", "unreadable"])
def test_a_spoilt_record_is_not_kept_and_costs_no_honest_one(kind: str) -> None:
    """Sent together with an honest one, by a staked node."""

    async def main() -> None:
        first, second, _ = await (town := Town((1, 2, 3))).all()
        await first.gossip.publish()
        honest = replace(record(3, issued=NOW), endpoint="memory://node3:1")
        async with await stream_to(second, first) as stream:
            await stream.send(gossip_frame(EVERYTHING))
            while not isinstance(gossip_of(await stream.recv()), Summary):
                pass
            good = encode_record(sign_record(honest, key(3), DOMAIN))
            await stream.send(gossip_frame(Records((spoilt(kind), good))))
            await stream.send(gossip_frame(END))
            await settled()

        assert first.holds() == [address(1), address(3)]
        assert town.peers[1].gossip.live()[0].peer == (1).to_bytes(32, "big")

    run(main())


def test_an_old_record_that_is_played_again_changes_nothing() -> None:
    """The highest sequence stays."""

    async def main() -> None:
        first, second = await Town((1, 2)).all()
        await second.gossip.publish()
        old = second.gossip.live()[0]
        await asyncio.sleep(11.0)
        await second.gossip.publish()
        await second.gossip.round()
        await settled()
        newest = first.gossip.live()
        first.gossip.book.merge(Records((encode_record(sign_record(old, key(2), DOMAIN)),)), NOW + 11)

        assert first.gossip.live() == newest
        assert newest[0].sequence > old.sequence

    run(main())


@pytest.mark.parametrize(("count", "barred"), [(MAX_FORGERIES - 1, False), (MAX_FORGERIES, True)])
def test_who_gives_forgeries_is_neither_answered_nor_asked(count: int, barred: bool) -> None:
    """One less than the limit may be an accident."""

    async def main() -> None:
        first, second = await Town((1, 2)).all()
        await first.gossip.round()
        forged = encode_record(SignedServiceRecord(record(1, issued=NOW), bytes(64)))
        async with await stream_to(second, first) as stream:
            await stream.send(gossip_frame(EVERYTHING))
            await stream.recv()
            await stream.send(gossip_frame(Records((forged,) * count)))
            await stream.send(gossip_frame(END))
            await settled()
        async with await stream_to(second, first) as stream:
            await stream.send(gossip_frame(EVERYTHING))
            if barred:
                with pytest.raises(PeerRefused, match="forged"):
                    gossip_of(await stream.recv())
            else:
                assert isinstance(gossip_of(await stream.recv()), Summary)
        assert first.gossip._choose(2) == ([] if barred else [first.directory.chain[address(2)]])

    run(main())


def test_who_answers_with_forgeries_is_not_asked_again() -> None:
    """The dialer ends the exchange."""

    async def main() -> None:
        town = Town((1, 2))
        first, second = await town.node(1), town.reader(2)
        forged = encode_record(SignedServiceRecord(record(1, issued=NOW), bytes(64)))

        async def lie(stream: Stream) -> None:
            await stream.recv()
            await stream.send(gossip_frame(Records((forged,) * MAX_FORGERIES)))
            await stream.recv()

        await second.transport.listen("node2", 1, lie)
        assert await first.gossip.round() == 1
        assert first.gossip._choose(2) == []
        assert await first.gossip.round() == 0

    run(main())


def test_a_strangers_records_are_not_taken() -> None:
    """Each would cost a signature's check, and strangers cost nothing."""

    async def main() -> None:
        first, second = await (town := Town((1, 2))).all()
        await second.gossip.publish()
        stranger = town.reader(8)
        async with await stream_to(stranger, first) as stream:
            await stream.send(gossip_frame(EVERYTHING))
            await stream.recv()
            with pytest.raises(PeerClosed):
                await stream.send(gossip_frame(second.gossip.book.missing(EVERYTHING, NOW)[0]))
            await settled()

        assert first.holds() == []

    run(main())


Opening = tuple[Frame, type[NodeError], str]


def wrong_openings() -> dict[str, Opening]:
    """Frames of the session of records that begin no exchange."""
    crooked = Summary(b"\xff" * 20, bytes(20), ())

    def raw(payload: bytes) -> Frame:
        return Frame(FrameType.CONTROL, payload, session=GOSSIP_SESSION)

    return {
        "nonsense": (raw(b"\xc1"), MalformedMessage, "malformed"),
        "too large": (raw(b"\0" * (MAX_GOSSIP_BYTES + 1)), MalformedMessage, "the limit is"),
        "out of order": (gossip_frame(crooked), MalformedMessage, "ascending"),
        "records first": (gossip_frame(END), MalformedMessage, "begins with a summary"),
        "another message": (message_frame(Close(), GOSSIP_SESSION), MalformedMessage, "malformed"),
    }


@pytest.mark.parametrize("kind", wrong_openings())
def test_what_is_no_summary_is_refused_by_name(kind: str) -> None:
    """Both sides know why; the next one is served."""
    frame, error, text = wrong_openings()[kind]

    async def main() -> None:
        first, second = await Town((1, 2)).all()
        async with await stream_to(second, first) as stream:
            await stream.send(frame)
            with pytest.raises(PeerRefused, match=text):
                gossip_of(await stream.recv())
        assert [type(each) for each in first.refused] == [error]
        await second.gossip.publish()
        assert await second.gossip.round() == 1
        await settled()
        assert first.holds() == [address(2)]

    run(main())


@pytest.mark.parametrize(("count", "refused"), [(MAX_BATCHES, False), (MAX_BATCHES + 1, True)])
def test_an_exchange_has_so_many_messages_of_records(count: int, refused: bool) -> None:
    """More come with the next one."""

    async def main() -> None:
        first, second = await Town((1, 2)).all()
        await first.gossip.round()
        stale = Records((encode_record(signed(1, issued=NOW - 500)),))
        async with await stream_to(second, first) as stream:
            await stream.send(gossip_frame(EVERYTHING))
            await stream.recv()
            for _ in range(count):
                await stream.send(gossip_frame(stale))
            await stream.send(gossip_frame(END))
            await settled()
        assert [type(each) for each in first.refused] == ([ProtocolViolation] if refused else [])

    run(main())


def test_a_peer_that_sends_nothing_more_is_given_up() -> None:
    """Five seconds, and its place is free; the dialer gives up a silent listener as soon."""

    async def main() -> None:
        first, second = await (town := Town((1, 2))).all()
        await first.gossip.round()
        async with await stream_to(second, first) as stream:
            await stream.send(gossip_frame(EVERYTHING))
            await asyncio.sleep(4.9)
            assert first.gossip._door._open == 1
            with pytest.raises(NodeError):
                while True:
                    gossip_of(await stream.recv())
        assert first.gossip._door._open == 0

        async def hold(_stream: Stream) -> None:
            await asyncio.sleep(3600)

        assert second.listener is not None
        await second.listener.close()
        await town.reader(2).transport.listen("node2", 1, hold)
        began = asyncio.get_running_loop().time()
        assert await first.gossip.round() == 0
        assert asyncio.get_running_loop().time() == pytest.approx(began + 5.0)

    run(main())


def test_a_flood_of_requests_is_refused_by_name_and_costs_other_peers_nothing() -> None:
    """Six at once, then one a second."""

    async def main() -> None:
        first, second, third = await Town((1, 2, 3)).all()
        await first.gossip.publish()
        answers, codes = [], set()
        for _ in range(20):
            async with await stream_to(second, first) as stream:
                await stream.send(gossip_frame(EVERYTHING))
                try:
                    answers.append(type(gossip_of(await stream.recv())))
                except PeerRefused as error:
                    codes.add(error.code)
        assert (answers, codes) == ([Records] * 6, {FailureCode.BUSY})
        assert all(isinstance(each, Refused) and each.retry_after_ms > 0 for each in first.refused)
        assert await third.gossip.round() >= 1
        assert third.holds() == [address(1)]

    run(main())


def test_part_of_a_large_book_is_summed_up_to_the_messages_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the summary's end is nearer, so that nothing is taken to be missing that is only not named."""

    async def main() -> None:
        first, *_ = await Town((1, 2, 3)).all()
        await first.gossip._anchor()
        for number in (1, 2, 3):
            own = replace(record(number, issued=NOW), endpoint=f"memory://node{number}:1")
            first.gossip.book.add(sign_record(own, key(number), DOMAIN), NOW)
        book = first.gossip.book
        assert nodes_in(book, NOW) == [address(1), address(2), address(3)]
        assert summary_within(book, EVERYTHING, NOW).last == EVERYTHING.last
        monkeypatch.setattr("node.gossip_exchange.MAX_SUMMARY_NODES", 2)

        cut = summary_within(book, EVERYTHING, NOW)
        assert ([each.node for each in cut.held], cut.last) == (
            [address_bytes(address(number)) for number in (1, 2)],
            address_bytes(address(2)),
        )

    run(main())
