"""What every transport promises; test_transport.py runs it over each of them."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from node.errors import (
    CertificateMismatch,
    ClosedHere,
    EndpointInvalid,
    FrameTooLarge,
    HandshakeFailed,
    NodeError,
    PeerClosed,
    PeerTimeout,
    PeerUnreachable,
    PortInUse,
    ProtocolViolation,
)
from node.messages import Close, message_frame, message_of
from node.transport import CloseCode, FrameStream, Listener, Pipe, Stream, Transport
from node.wire import HEADER_BYTES, Frame, FrameType, encode, frame_to_hidden, hidden_frame, sampled_frame, tokens_frame
from tests.node.mallory import ATTACKS, DOMAIN, SIGNER, STAKES, challenged, hello
from verification.typed_data import Domain

HOST = "127.0.0.1"
SESSION = bytes(range(16))
PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""


@dataclass(frozen=True)
class Options:
    """What a test may want to be different on one side."""

    domain: Domain = DOMAIN
    max_payload: int = 64 * 1024
    handshake_timeout: float = 5.0
    send_timeout: float = 10.0


DEFAULTS = Options()


@dataclass
class Link:
    """A listening node, and the means to dial it."""

    listening: Transport
    peer: bytes
    make_dialer: Callable[[Options], Transport]
    make_pipe: Callable[[str], Awaitable[Pipe]]
    """Connect without a handshake."""
    streams: asyncio.Queue[Stream] = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    listener: Listener = field(init=False)

    async def __aenter__(self) -> "Link":
        self.listener = await self.listening.listen(HOST, 0, self.hold)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.over.set()
        await self.listener.close()

    async def hold(self, stream: Stream) -> None:
        """The default handler: hands the stream to the test and keeps it open."""
        await self.streams.put(stream)
        await self.over.wait()

    async def dial(self, options: Options = DEFAULTS) -> Stream:
        """Open a stream to the node."""
        return await self.make_dialer(options).dial(self.listener.endpoint, self.peer)

    async def pair(self, options: Options = DEFAULTS) -> tuple[Stream, Stream]:
        """Both ends of a new stream: the dialer's, the listener's."""
        mine = await self.dial(options)
        return mine, await asyncio.wait_for(self.streams.get(), PATIENCE)

    async def still_serves(self) -> bool:
        """Whether the next good stream works, and nothing bad was let in before it."""
        mine, theirs = await self.pair()
        await mine.send(tokens_frame(SESSION, 0, 0, 0, [7]))
        arrived = await recv(theirs)
        return bytes(arrived.payload) == b"\7\0\0\0" and self.streams.empty()


async def recv(stream: Stream) -> Frame:
    """The next frame, or a failed test."""
    return await asyncio.wait_for(stream.recv(), PATIENCE)


def control(size: int) -> Frame:
    """A frame with so many bytes of payload."""
    return Frame(FrameType.CONTROL, bytes(size))


def pipe_of(stream: Stream) -> Pipe:
    """Below the frames, where only a liar writes."""
    assert isinstance(stream, FrameStream)
    return stream._pipe


async def send_without_end(stream: Stream, frames: int) -> None:
    """Far more than any buffer on the way may hold."""
    for _ in range(frames):
        await stream.send(control(DEFAULTS.max_payload))


class TransportContract:
    """Subclasses say how a link is opened."""

    def opened(self, folder: Path, options: Options = DEFAULTS) -> AbstractAsyncContextManager[Link]:
        """A node that listens with these options."""
        raise NotImplementedError

    @pytest.fixture
    async def link(self, tmp_path: Path) -> AsyncIterator[Link]:
        """A node with default options."""
        async with self.opened(tmp_path) as link:
            yield link

    async def test_frames_of_every_type_arrive_whole_and_in_order(self, link: Link) -> None:
        """Both directions, with header, shape and bytes."""
        hidden = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
        frames = [
            message_frame(Close("x"), SESSION, 4),
            tokens_frame(SESSION, 1, 2, 3, [1, 2, 3]),
            hidden_frame(SESSION, 2**32 - 1, 2**32 - 1, 2**32 - 1, hidden),
            sampled_frame(SESSION, 1, 2, 6, 9),
        ]
        for sender, receiver in (ends := await link.pair(), ends[::-1]):
            for frame in frames:
                await sender.send(frame)
            assert [await recv(receiver) for _ in frames] == frames

    async def test_received_frames_become_tensors_and_messages(self, link: Link) -> None:
        """Nothing about the transport's buffers stands in the way."""
        mine, theirs = await link.pair()
        await mine.send(hidden_frame(SESSION, 0, 0, 0, torch.full((2, 4), 1.5)))
        await mine.send(message_frame(Close("x")))

        assert torch.equal(frame_to_hidden(await recv(theirs), 4), torch.full((2, 4), 1.5))
        assert message_of(await recv(theirs)) == Close("x")

    async def test_each_side_knows_the_other(self, link: Link) -> None:
        """The listener has the dialer's address, the dialer the listener's key."""
        mine, theirs = await link.pair()

        assert (theirs.remote, theirs.peer) == (SIGNER.address, None)
        assert (mine.remote, mine.peer) == (None, link.peer)

    async def test_streams_are_independent(self, link: Link) -> None:
        """One that is full or closed does not hold up another."""
        first, second = await link.pair(), await link.pair()
        await first[0].send(tokens_frame(SESSION, 0, 0, 0, [1]))
        await second[0].send(tokens_frame(SESSION, 0, 0, 0, [2]))
        await first[1].close()

        assert bytes((await recv(second[1])).payload) == b"\2\0\0\0"

    async def test_close_reaches_the_other_side_after_the_frames(self, link: Link) -> None:
        """What was sent is read, then the reason, as often as one asks."""
        mine, theirs = await link.pair()
        await theirs.send(control(5))
        await theirs.close("that is all")

        assert await recv(mine) == control(5)
        for _ in range(2):
            with pytest.raises(PeerClosed) as ended:
                await recv(mine)
            assert (ended.value.code, ended.value.reason) == (CloseCode.NORMAL, "that is all")
        with pytest.raises(PeerClosed, match="that is all"):
            await mine.send(control(1))

    async def test_own_close_is_its_own_state(self, link: Link) -> None:
        """Whoever closed is told so, however the other side ended; closing again is fine."""
        mine, theirs = await link.pair()
        await mine.close()
        await mine.close("again")
        await theirs.close()

        with pytest.raises(ClosedHere):
            await mine.send(control(1))
        with pytest.raises(ClosedHere):
            await mine.recv()

    async def test_close_wakes_a_waiting_reader(self, link: Link) -> None:
        """On both sides."""
        mine, theirs = await link.pair()
        reading = [asyncio.create_task(mine.recv()), asyncio.create_task(theirs.recv())]
        await asyncio.sleep(0.01)
        await mine.close()

        results = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), PATIENCE)

        assert [type(result) for result in results] == [ClosedHere, PeerClosed]

    @pytest.mark.parametrize("reason", ["", "x" * 500, "\u00e9\u4e2d" * 60, "\ud800"])
    async def test_reasons_of_any_length_are_cut_to_fit(self, link: Link, reason: str) -> None:
        """Closing never fails for its reason."""
        mine, theirs = await link.pair()
        await mine.close(reason)

        with pytest.raises(PeerClosed) as ended:
            await recv(theirs)
        assert len(ended.value.reason.encode()) <= 120
        assert reason.startswith(ended.value.reason) or reason == "\ud800"

    async def test_leaving_the_context_closes(self, link: Link) -> None:
        """A stream does not outlive its block."""
        mine, theirs = await link.pair()
        async with mine:
            pass

        with pytest.raises(PeerClosed):
            await recv(theirs)

    async def test_end_of_the_handler_closes_the_stream(self, link: Link) -> None:
        """A handler that returns has ended its stream, in order."""
        mine, _ = await link.pair()
        link.over.set()

        with pytest.raises(PeerClosed) as ended:
            await recv(mine)
        assert ended.value.code == CloseCode.NORMAL

    async def test_failing_handler_ends_its_stream_only(self, link: Link, caplog: pytest.LogCaptureFixture) -> None:
        """The other side learns that it was an inside error and nothing of the inside."""

        async def fail(stream: Stream) -> None:
            raise RuntimeError("secret")

        caplog.set_level("CRITICAL")
        listener = await link.listening.listen(HOST, 0, fail)
        mine = await link.make_dialer(DEFAULTS).dial(listener.endpoint, link.peer)
        with pytest.raises(PeerClosed) as ended:
            await recv(mine)
        await listener.close()

        assert (ended.value.code, ended.value.reason) == (CloseCode.INTERNAL, "internal error")
        assert await link.still_serves()

    async def test_closing_the_listener_ends_its_streams(self, link: Link) -> None:
        """Neighbours are told, handlers have ended, nobody can dial any more."""
        ended = []

        async def read(stream: Stream) -> None:
            try:
                await stream.recv()
            except NodeError as error:
                ended.append(type(error))

        listener = await link.listening.listen(HOST, 0, read)
        dialer = link.make_dialer(DEFAULTS)
        mine = await dialer.dial(listener.endpoint, link.peer)
        await asyncio.sleep(0.01)
        await listener.close()
        await listener.close()

        assert ended == [ClosedHere]
        with pytest.raises(PeerClosed) as closed:
            await recv(mine)
        assert closed.value.code == CloseCode.GOING_AWAY
        with pytest.raises(PeerUnreachable):
            await dialer.dial(listener.endpoint, link.peer)

    async def test_port_in_use_is_named(self, link: Link) -> None:
        """The second listener on a port is refused with its number."""
        port = int(link.listener.endpoint.rsplit(":", 1)[1].split("/")[0])

        with pytest.raises(PortInUse) as error:
            await link.listening.listen(HOST, port, link.hold)
        assert (error.value.host, error.value.port) == (HOST, port)

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

    async def test_slow_reader_gets_everything(self, link: Link) -> None:
        """Waiting for room loses and reorders nothing."""
        mine, theirs = await link.pair()
        count = 300

        async def write() -> None:
            for number in range(count):
                await mine.send(Frame(FrameType.CONTROL, bytes(20_000), step=number))

        writing = asyncio.create_task(write())
        steps = []
        for number in range(count):
            if number % 100 == 0:
                await asyncio.sleep(0.02)
            steps.append((await recv(theirs)).step)
        await writing

        assert steps == list(range(count))

    async def test_cancelled_reader_can_come_back(self, link: Link) -> None:
        """A deadline around recv costs no frame and no stream."""
        mine, theirs = await link.pair()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await theirs.recv()
        await mine.send(control(3))

        assert await recv(theirs) == control(3)
        await theirs.close("done")
        with pytest.raises(PeerClosed, match="done"):
            await recv(mine)

    async def test_several_tasks_may_send(self, link: Link) -> None:
        """Frames of different tasks are never mixed."""
        mine, theirs = await link.pair()
        frames = [Frame(FrameType.CONTROL, bytes([n]) * 30_000, step=n) for n in range(20)]
        sending = asyncio.gather(*(mine.send(frame) for frame in frames))

        arrived = [await recv(theirs) for _ in frames]
        await sending

        assert sorted(arrived, key=lambda frame: frame.step) == frames

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
