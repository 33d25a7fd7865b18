"""Carrying an Open down the route: each stage dials the next, and the acceptances of all behind it come back."""

import asyncio
import logging
import time
from dataclasses import dataclass

from incentives.errors import ChainError
from node.admission import Admitted
from node.directory import Directory, NodeRecord
from node.errors import CertificateMismatch, MalformedMessage, NodeError, PeerRefused, PeerUnreachable
from node.messages import Accept, Accepted, Failure, Open, for_stage, message_frame, message_of
from node.refusals import BUSY_RETRY_MS, FailureCode, Refused, opening_seconds
from node.transport import Stream, Transport
from node.wire import Frame, FrameType
from verification.addresses import Address
from verification.routes import MAX_STAGES

log = logging.getLogger(__name__)

FRESH_SECONDS = 0.5
"""A reading of the chain that is no older serves all who found a node gone."""


@dataclass(frozen=True, slots=True)
class Downstream:
    """An open stream to the next stage, and the acceptances that came back on it."""

    stream: Stream
    accepts: list[Accept]


async def open_downstream(
    directory: Directory, transport: Transport, admitted: Admitted, opening: Open
) -> Downstream | None:
    """Open the rest of the route; None on its last stage. Raises: Refused naming the stage at fault."""
    if admitted.is_last:
        return None
    index = admitted.stage + 1
    node = admitted.route.stages[index].node
    try:
        stream = await dial_node(directory, transport, node)
    except PeerRefused as error:
        text = f"stage {index} ({node}) has no room for another stream"
        raise Refused(FailureCode.BUSY, text, index, BUSY_RETRY_MS) from error
    except NodeError as error:
        log.info("stage %d (%s) cannot be reached: %s", index, node, error)
        raise _unreachable(index, node) from error  # no details: they would map this node's network for strangers
    try:
        return await _exchange(stream, opening, admitted, index)
    except BaseException:
        await stream.close()
        raise


async def dial_node(directory: Directory, transport: Transport, node: Address) -> Stream:
    """Dial a node wherever it is now. Raises: UnknownNode, PeerError's leaves, ChainError."""
    return await dial_record(directory, transport, await directory.record(node))


async def dial_record(directory: Directory, transport: Transport, record: NodeRecord) -> Stream:
    """Dial a node; where nobody answers, or another node has its port now, look whether it has moved since.

    Raises: PeerError's leaves.
    """
    asked = time.monotonic()
    try:
        return await transport.dial(record.endpoint, record.peer)
    except (PeerUnreachable, CertificateMismatch):
        moved = await _moved(directory, record, asked - FRESH_SECONDS)
        if moved is None:
            raise
    return await transport.dial(moved.endpoint, moved.peer)


async def _moved(directory: Directory, record: NodeRecord, newer_than: float) -> NodeRecord | None:
    """What the chain says of a node that is not where its record leads; None where that is no news."""
    try:
        found = (await directory.records(newer_than=newer_than)).get(record.node)
    except ChainError as error:
        log.info("whether %s has moved cannot be asked: %s", record.node, error)
        return None
    same = found is None or (found.endpoint, found.peer) == (record.endpoint, record.peer)
    return None if same else found


async def _exchange(stream: Stream, opening: Open, admitted: Admitted, index: int) -> Downstream:
    """Each stage waits less long than the one before it, so that the one next to a silent stage names it."""
    try:
        await stream.send(message_frame(for_stage(opening, index), admitted.session, admitted.route.epoch))
        async with asyncio.timeout(opening_seconds(len(admitted.route.stages) - index)):
            answer = await stream.recv()
    except (NodeError, TimeoutError) as error:
        raise _unreachable(index, admitted.route.stages[index].node) from error
    return Downstream(stream, _accepted(answer, index))


def _unreachable(index: int, node: str) -> Refused:
    return Refused(FailureCode.STAGE_LOST, f"stage {index} ({node}) cannot be reached or does not answer", index)


def _accepted(frame: Frame, stage: int) -> list[Accept]:
    try:
        message = message_of(frame) if frame.type is FrameType.CONTROL else None
    except MalformedMessage as error:
        raise Refused(FailureCode.MALFORMED, str(error), stage) from error
    match message:
        case Accepted(accepts=tuple(accepts)):
            return list(accepts)
        case Failure(code=code, message=text, stage=failed):
            known = failed if stage <= failed < MAX_STAGES else stage
            raise Refused(FailureCode.read(code), text, known, message.retry_after_ms)
        case _:
            raise Refused(FailureCode.PROTOCOL, f"stage {stage} answered an Open with something else")
