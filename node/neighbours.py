"""The streams of one session on one stage: to the stage before or the client, and to the stage behind."""

import logging
from dataclasses import dataclass

from node.errors import ClosedHere, PeerError
from node.ring import Dial
from node.transport import Stream
from node.wire import Frame

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """downstream is None on a last stage; there `first` is how to reach the route's first one, if it is to be told tokens."""

    upstream: Stream
    downstream: Stream | None
    first: Dial | None = None

    async def forward(self, frame: Frame) -> None:
        """Send something on, where there is somebody behind. Raises: NodeError."""
        if self.downstream is not None:
            await self.downstream.send(frame)

    async def tell(self, frame: Frame, sink: Stream | None) -> None:
        """Send something to everybody who is still there."""
        for stream in (self.upstream, self.downstream, sink):
            if stream is None:
                continue
            try:
                await stream.send(frame)
            except (PeerError, ClosedHere):
                log.debug("a neighbour was gone before it could be told")
