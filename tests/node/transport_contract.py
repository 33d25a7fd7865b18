"""What every transport promises; test_transport.py runs it over each of them."""

import asyncio

import pytest
import torch

from node.errors import (
    ClosedHere,
    NodeError,
    PeerClosed,
    PeerUnreachable,
    PortInUse,
)
from node.messages import Close, message_frame, message_of
from node.transport import CloseCode, Stream
from node.wire import Frame, FrameType, frame_to_hidden, hidden_frame, sampled_frame, tokens_frame
from tests.node.link import (
    DEFAULTS,
    HOST,
    PATIENCE,
    SESSION,
    Contract,
    Link,
    control,
    recv,
)
from tests.node.mallory import SIGNER


class TransportContract(Contract):
    """Frames, ends and listeners between honest sides."""

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

        assert torch.equal(frame_to_hidden(await recv(theirs), 4, torch.float32), torch.full((2, 4), 1.5))
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
        started, ended = asyncio.Event(), []

        async def read(stream: Stream) -> None:
            started.set()
            try:
                await stream.recv()
            except NodeError as error:
                ended.append(type(error))

        listener = await link.listening.listen(HOST, 0, read)
        dialer = link.make_dialer(DEFAULTS)
        mine = await dialer.dial(listener.endpoint, link.peer)
        await asyncio.wait_for(started.wait(), PATIENCE)
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
