"""A node is dialled where it is: a word that has become old costs another look at the chain, and no blame."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from node.directory import Directory
from node.downstream import dial_node, dial_record
from node.errors import CertificateMismatch, HandshakeFailed, PeerUnreachable, UnknownNode
from node.transport import Stream, Transport
from tests.node.fake_stakes import FakeStakes, address, network

NEVER = 1e6
PEER = (1).to_bytes(32, "big")
OLD, NEW = "wss://old.test:1", "wss://node1.test:1"
STREAM = cast(Stream, object())


def nobody(endpoint: str, _peer: bytes) -> Stream:
    raise PeerUnreachable(endpoint, "nobody listens there")


def somebody_else(_endpoint: str, peer: bytes) -> Stream:
    raise CertificateMismatch(peer, bytes(32))


def no_handshake(_endpoint: str, _peer: bytes) -> Stream:
    raise HandshakeFailed("the other side cannot prove who it is")


@dataclass
class FakeTransport:
    """Finds at an old endpoint what a test put there, and the node at the new one if it is there."""

    at_old: Callable[[str, bytes], Stream]
    is_at_new: bool = True
    dialled: list[str] = field(default_factory=list)

    async def dial(self, endpoint: str, peer: bytes) -> Stream:
        """As Transport."""
        self.dialled.append(endpoint)
        assert peer == PEER
        if endpoint == NEW and self.is_at_new:
            return STREAM
        return self.at_old(endpoint, peer)


@pytest.fixture
def stakes() -> FakeStakes:
    made = FakeStakes()
    made.join(1)
    return made


@pytest.fixture
def directory(stakes: FakeStakes, monkeypatch: pytest.MonkeyPatch) -> Directory:
    """A record leads to the old endpoint, the chain to the new one."""
    monkeypatch.setattr("node.downstream.FRESH_SECONDS", 0.0)
    made = Directory(network(stakes), NEVER)
    made.moved = {address(1): OLD}.get
    return made


async def dial(directory: Directory, transport: FakeTransport) -> Stream:
    return await dial_node(directory, cast(Transport, transport), address(1))


@pytest.mark.parametrize("at_old", [nobody, somebody_else])
async def test_a_node_that_is_not_where_its_record_leads_is_looked_for(
    directory: Directory, at_old: Callable[[str, bytes], Stream]
) -> None:
    """Whether its port is closed, or another node has it now."""
    transport = FakeTransport(at_old)

    assert await dial(directory, transport) is STREAM
    assert transport.dialled == [OLD, NEW]


@pytest.mark.parametrize("at_old", [nobody, somebody_else])
async def test_a_node_that_is_nowhere_is_dialled_no_third_time(
    directory: Directory, at_old: Callable[[str, bytes], Stream]
) -> None:
    """Its newest endpoint leads to nobody either."""
    transport = FakeTransport(at_old, is_at_new=False)
    with pytest.raises((PeerUnreachable, CertificateMismatch)):
        await dial(directory, transport)
    assert transport.dialled == [OLD, NEW]


async def test_a_node_that_has_not_moved_is_dialled_once(stakes: FakeStakes, directory: Directory) -> None:
    """The chain is asked, and has no news."""
    directory.moved = {}.get
    transport = FakeTransport(nobody, is_at_new=False)
    with pytest.raises(PeerUnreachable):
        await dial(directory, transport)
    assert (transport.dialled, stakes.readings) == ([NEW], 2)


async def test_another_key_at_the_same_place_is_news(stakes: FakeStakes, directory: Directory) -> None:
    """A node that rotated its key is known by the old one for a while."""
    directory.moved = {}.get
    old = replace((await directory.chain_records())[address(1)], peer=b"x" * 32)
    transport = FakeTransport(nobody)
    found: list[bytes] = []

    async def rotated(_endpoint: str, peer: bytes) -> Stream:
        found.append(peer)
        if peer != PEER:
            raise CertificateMismatch(peer, PEER)
        return STREAM

    transport.dial = rotated  # type: ignore[method-assign]
    assert await dial_record(directory, cast(Transport, transport), old) is STREAM
    assert found == [b"x" * 32, PEER]


async def test_a_node_that_is_there_and_fails_is_not_looked_for(stakes: FakeStakes, directory: Directory) -> None:
    """It is at its place, and at fault."""
    with pytest.raises(HandshakeFailed):
        await dial(directory, FakeTransport(no_handshake))
    assert stakes.readings == 1


async def test_a_chain_that_is_down_does_not_hide_who_was_not_there(stakes: FakeStakes, directory: Directory) -> None:
    """The node is what cannot be reached: nobody is to be told of this node's chain instead."""
    await directory.records()
    stakes.down = True
    for at_old, error in ((nobody, PeerUnreachable), (somebody_else, CertificateMismatch)):
        with pytest.raises(error):
            await dial(directory, FakeTransport(at_old))


async def test_a_node_that_left_the_chain_meanwhile_is_not_there(stakes: FakeStakes, directory: Directory) -> None:
    """As one that has not moved; a stranger is unknown before anybody is dialled."""
    await directory.records()
    stakes.announced.clear()
    with pytest.raises(PeerUnreachable):
        await dial(directory, FakeTransport(nobody))
    with pytest.raises(UnknownNode):
        await dial_node(directory, cast(Transport, FakeTransport(nobody)), address(2))
