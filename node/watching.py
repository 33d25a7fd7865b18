"""What else may end a session on a stage: work that never comes, the stage behind that failed, the client that left."""

import asyncio
import math
from dataclasses import dataclass

from node.errors import MalformedMessage, NodeError, PeerError
from node.messages import Failure, message_of
from node.refusals import FailureCode, Refused, refusal_of
from node.transport import Stream
from node.wire import FrameType

REASON_SECONDS = 0.05
BUSY_SECONDS = 0.1
"""How often a session that is at work past its deadline is looked at again."""


@dataclass(slots=True)
class WorkDeadline:
    """Until when a session may wait for work, by the event loop's clock: one timer for all of its frames."""

    expires: float
    """When the route does; nothing puts that off."""
    at: float = math.inf
    is_waiting: bool = False
    """Or at work itself, which is not late."""

    def put_off(self, seconds: float) -> None:
        """From now."""
        self.at = min(self.expires, asyncio.get_running_loop().time() + seconds)

    async def watch(self) -> None:
        """Raises: Refused when work is overdue."""
        loop = asyncio.get_running_loop()
        while True:
            left = self.at - loop.time()
            if left <= 0 and self.is_waiting:
                raise Refused(FailureCode.IDLE, "no work came in time, or the route has expired")
            await asyncio.sleep(max(left, BUSY_SECONDS))


async def watch_downstream(downstream: Stream, behind: int) -> None:
    """After the opening a later stage only ever speaks to say that it failed. Raises: Refused, naming it or whom it names."""
    try:
        frame = await downstream.recv()
        message = message_of(frame) if frame.type is FrameType.CONTROL else None
    except PeerError as error:
        raise Refused(FailureCode.STAGE_LOST, f"the next stage is gone: {error}", behind) from error
    except MalformedMessage as error:
        raise Refused(FailureCode.MALFORMED, str(error), behind) from error
    if not isinstance(message, Failure):
        raise Refused(FailureCode.PROTOCOL, "the next stage sent something unasked", behind)
    raise Refused(FailureCode.read(message.code), message.message, message.stage, message.retry_after_ms)


async def watch_sink(sink: "asyncio.Future[Stream]") -> None:
    """The client only ever leaves the stream of its tokens. Raises: Refused."""
    stream = await asyncio.shield(sink)
    try:
        await stream.recv()
    except PeerError as error:
        raise Refused(FailureCode.PEER_LOST, f"the client has left: {error}") from error
    raise Refused(FailureCode.PROTOCOL, "the client sent something on the stream of its tokens")


async def better_reason(readers: "list[asyncio.Task[None]]", error: BaseException) -> BaseException:
    """A stream that broke says less than a neighbour who had time to say why: that the client has left, above all."""
    if refusal_of(error).code is not FailureCode.STAGE_LOST or not isinstance(error.__cause__, NodeError):
        return error
    done, _ = await asyncio.wait(readers, timeout=REASON_SECONDS, return_when=asyncio.ALL_COMPLETED)
    reasons = [task.exception() for task in done]
    left = [each for each in reasons if each is not None and refusal_of(each).code is FailureCode.PEER_LOST]
    return left[0] if left else error
