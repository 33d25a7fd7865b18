"""The last word of a node that stops: told to many, in a moment, whatever does not work any more."""

import asyncio
from dataclasses import replace

from incentives.errors import ChainUnavailable
from node.gossip import FAREWELL_SECONDS
from node.gossip_author import StageLoad
from tests.faults.virtual_time import run_virtual
from tests.node.gossips import IDLE, Peer, Town
from tests.node.records import address, key

LEAVES: StageLoad = replace(IDLE, draining=True)


def knows_that_it_leaves(peer: Peer) -> bool:
    record = peer.gossip.record(address(1))
    return record is not None and record.draining


def test_those_who_are_there_hear_that_a_node_stops() -> None:
    """At once, without another look at a chain that is down."""

    async def main() -> None:
        first, *others = await Town((1, 2, 3, 4)).all()
        await first.gossip.spread()
        for each in others:
            await each.gossip.publish()
        first.directory.problem = ChainUnavailable("http://chain.test", "down")
        first.load.append(LEAVES)
        assert not any(map(knows_that_it_leaves, others))
        await first.gossip.farewell()
        assert all(map(knows_that_it_leaves, others))

    run_virtual(main())


def test_a_farewell_is_said_once() -> None:
    """A node that has drained has told everybody; one without a record has nobody to tell."""

    async def main() -> None:
        town = Town((1, 2))
        first, second = await town.all()
        first.load.append(LEAVES)
        await first.gossip.spread()
        said = first.gossip.record(address(1))
        await second.gossip.close()
        await first.gossip.farewell()
        assert first.gossip.record(address(1)) == said
        await town.reader(9).gossip.farewell()

    run_virtual(main())


def test_a_farewell_takes_a_moment_at_the_most() -> None:
    """The others are stopped, or this node's own load cannot be read."""

    async def main() -> None:
        first, second = await Town((1, 2)).all()
        assert first.gossip.author is not None
        assert second.listener is not None
        await first.gossip.publish()
        second.listener._handler = _never  # type: ignore[attr-defined]
        loop = asyncio.get_running_loop()
        for load in (first.gossip.author._load, _never):
            first.load.append(LEAVES)
            first.gossip.author._load = load
            began = loop.time()
            await first.gossip.farewell()
            assert loop.time() - began <= FAREWELL_SECONDS + 0.01

    run_virtual(main())


def test_a_farewell_that_is_refused_ends_nothing() -> None:
    """The chain has another key for this node by now, or was never heard of."""

    async def main() -> None:
        town = Town((1, 2))
        first, second = await town.all()
        first.load.append(LEAVES)
        await first.gossip.farewell()
        assert first.holds() == []
        right = town.chain[address(1)]
        first.directory.chain = {**town.chain, address(1): replace(right, signer=key(9).address)}
        await first.gossip.round()
        await first.gossip.farewell()
        assert address(1) not in second.holds()

    run_virtual(main())


async def _never(*_: object) -> StageLoad:
    await asyncio.sleep(3600)
    return IDLE
