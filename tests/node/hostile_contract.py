"""What every transport withstands; test_transport.py runs it over each of them."""

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from node.errors import (
    CertificateMismatch,
    EndpointInvalid,
    FrameTooLarge,
    HandshakeFailed,
    PeerClosed,
    PeerTimeout,
    ProtocolViolation,
)
from node.transport import CloseCode
from node.wire import HEADER_BYTES, encode
from tests.node.link import (
    DEFAULTS,
    PATIENCE,
    Contract,
    Link,
    Options,
    control,
    pipe_of,
    recv,
    send_without_end,
)
from tests.node.mallory import ATTACKS, SIGNER, STAKES, challenged, hello
from verification.typed_data import Domain


class HostileContract(Contract):
    """Limits, garbage and lies; after each of them the next good stream works."""

    async def test_other_key_at_the_endpoint_is_refused_before_anything_is_said(self, link: Link) -> None:
        """A host that took over an address cannot take over its streams."""
        with pytest.raises(CertificateMismatch) as error:
            await link.make_dialer(DEFAULTS).dial(link.listener.endpoint, bytes(32))

        assert (error.value.expected, error.value.got) == (bytes(32), link.peer)
        assert await link.still_serves()

    @pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1", "nonsense"])
    async def test_nonsense_is_not_dialled(self, link: Link, endpoint: str) -> None:
        """What the chain announces may be anything."""
        with pytest.raises(EndpointInvalid):
            await link.make_dialer(DEFAULTS).dial(endpoint, link.peer)

    async def test_payload_limit_holds_at_the_sender(self, link: Link) -> None:
        """The limit passes, one byte more is refused here, and the stream goes on."""
        mine, theirs = await link.pair()
        limit = DEFAULTS.max_payload
        with pytest.raises(FrameTooLarge) as error:
            await mine.send(control(limit + 1))
        await mine.send(control(limit))

        assert (error.value.size, error.value.limit) == (limit + 1, limit)
        assert await recv(theirs) == control(limit)

    @pytest.mark.parametrize("excess", [0, 1])
    async def test_smaller_limit_of_either_side_counts(self, link: Link, excess: int) -> None:
        """The dialer's limit was told in its Hello, the listener's in its Welcome."""
        mine, theirs = await link.pair(Options(max_payload=100))
        await mine.send(control(1000))
        assert len((await recv(theirs)).payload) == 1000
        if excess:
            with pytest.raises(FrameTooLarge):
                await theirs.send(control(101))
        else:
            await theirs.send(control(100))
            assert await recv(mine) == control(100)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\0" * HEADER_BYTES,
            b"garbage",
            pickle.dumps({"a": 1}),
            encode(control(4))[:-1],
            encode(control(4)) + b"\0",
            encode(control(DEFAULTS.max_payload + 1)),
            encode(control(4 * DEFAULTS.max_payload)),
        ],
        ids=["empty", "zeros", "text", "pickle", "cut", "trailing", "one past the limit", "far past the limit"],
    )
    async def test_garbage_ends_the_stream_by_name(self, link: Link, data: bytes) -> None:
        """The receiver knows that it was the other side's fault, and so does the other side; the node serves on."""
        mine, theirs = await link.pair()
        await pipe_of(mine).send(data)

        for _ in range(2):
            with pytest.raises(ProtocolViolation):
                await recv(theirs)
        with pytest.raises(ProtocolViolation):
            await theirs.send(control(1))
        with pytest.raises(PeerClosed) as ended:
            await recv(mine)
        assert ended.value.code in (CloseCode.PROTOCOL, CloseCode.TOO_BIG)
        assert await link.still_serves()

    async def test_reader_that_never_reads_is_given_up(self, tmp_path: Path) -> None:
        """Memory is bounded: after so many frames the sender waits, and after its deadline it stops waiting."""
        async with self.opened(tmp_path) as link:
            mine, _ = await link.pair(Options(send_timeout=0.4))
            with pytest.raises(PeerTimeout):
                await asyncio.wait_for(send_without_end(mine, 1000), PATIENCE)
            with pytest.raises(PeerTimeout):
                await mine.recv()
            assert await link.still_serves()

    @pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
    async def test_lying_dialer_is_turned_away(
        self, link: Link, attack: Callable[..., bytes], caplog: pytest.LogCaptureFixture
    ) -> None:
        """No stream reaches the handler, the liar is told that it failed, the next dialer is served."""
        pipe = await link.make_pipe(link.listener.endpoint)
        await pipe.send(attack(await challenged(pipe), link.peer))

        with pytest.raises(PeerClosed) as ended:
            await asyncio.wait_for(pipe.receive(), PATIENCE)
        await pipe.close(CloseCode.NORMAL, "")
        assert ended.value.code == CloseCode.POLICY
        assert await link.still_serves()

    async def test_recorded_hello_is_worth_nothing(self, link: Link) -> None:
        """Every challenge is a new number."""
        first = await link.make_pipe(link.listener.endpoint)
        recorded = hello(await challenged(first), link.peer)
        await first.send(recorded)
        await asyncio.wait_for(first.receive(), PATIENCE)
        await asyncio.wait_for(link.streams.get(), PATIENCE)
        second = await link.make_pipe(link.listener.endpoint)
        await challenged(second)
        await second.send(recorded)

        with pytest.raises(PeerClosed, match="for this listener, challenge and chain"):
            await asyncio.wait_for(second.receive(), PATIENCE)
        assert link.streams.empty()
        for pipe in (first, second):
            await pipe.close(CloseCode.NORMAL, "")

    @pytest.mark.parametrize("domain", [Domain(1, STAKES), Domain(31337, SIGNER.address)], ids=["chain", "contract"])
    async def test_dialer_of_another_network_fails_by_name(self, link: Link, domain: Domain) -> None:
        """Two local chains with the same addresses do not mix."""
        with pytest.raises(HandshakeFailed, match="for this listener, challenge and chain"):
            await link.dial(Options(domain=domain))
        assert await link.still_serves()

    async def test_silent_dialer_is_dropped_at_the_deadline(self, tmp_path: Path) -> None:
        """A connection that says nothing does not stay."""
        async with self.opened(tmp_path, Options(handshake_timeout=0.5)) as link:
            pipe = await link.make_pipe(link.listener.endpoint)
            await challenged(pipe)

            with pytest.raises(PeerClosed):
                await asyncio.wait_for(pipe.receive(), PATIENCE)
            await pipe.close(CloseCode.NORMAL, "")
            assert link.streams.empty()

    async def test_dialer_that_leaves_in_the_handshake_harms_nobody(self, link: Link) -> None:
        """Before and after the challenge."""
        for _ in range(3):
            pipe = await link.make_pipe(link.listener.endpoint)
            await pipe.close(CloseCode.NORMAL, "")
        assert await link.still_serves()
