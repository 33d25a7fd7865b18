"""What comes to a stage from the one before it, or from the client, on one session's stream."""

from dataclasses import dataclass

from node.admission import Admitted
from node.errors import PeerError
from node.refusals import FailureCode, Refused
from node.stage_work import at_fault
from node.transport import Stream
from node.watching import WorkDeadline
from node.wire import Frame


@dataclass(frozen=True, slots=True)
class Upstream:
    """The frames of one route. deadline: hears whether the session waits for one."""

    stream: Stream
    terms: Admitted
    deadline: WorkDeadline

    async def recv(self) -> Frame:
        """The next frame of this session and epoch. Raises: Refused naming the stage before, PeerError from the client."""
        try:
            self.deadline.is_waiting = True
            frame = await self.stream.recv()
            self.deadline.is_waiting = False
        except PeerError as error:
            raise self._lost(error) from error
        if frame.session != self.terms.session:
            text = "the frame names another session than this stream's"
            raise at_fault(Refused(FailureCode.UNKNOWN_SESSION, text), self.terms)
        if frame.epoch != self.terms.route.epoch:
            stale = f"the frame is of epoch {frame.epoch}, the route of {self.terms.route.epoch}"
            raise at_fault(Refused(FailureCode.STALE_EPOCH, stale), self.terms)
        return frame

    def _lost(self, error: PeerError) -> Exception:
        """Upstream of the first stage is the client; further on it is a stage, and the client may still be there."""
        if self.terms.is_first:
            return error
        return Refused(FailureCode.STAGE_LOST, f"the stage before is gone: {error}", self.terms.stage - 1)
