"""Which stage holds a token back: asked of fake stages over streams in this process, in virtual time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from incentives.signing import LocalSigner
from node.client_errors import SessionFailed
from node.diagnosis import AGAIN_SECONDS, PROBE_SECONDS, Dial, diagnose
from node.directory import NodeRecord
from node.handshake import HandshakeTerms
from node.memory import MemoryNetwork, MemoryTransport
from node.messages import Failure, Message, Probe, Progress, message_frame, message_of
from node.refusals import FailureCode
from node.route_run import OpenRoute, RouteRun
from node.transport import Stream
from node.wire import Frame, FrameType, tokens_frame
from sharding.span import Span
from tests.faults.virtual_time import run_virtual
from tests.node.admitted import PRICE, make_route
from tests.node.mallory import DOMAIN, SIGNER
from tests.node.money_fakes import CLIENT, NODES
from verification.addresses import Address

WANTED = 200
ROUTE = make_route()
DIGEST = ROUTE.struct_hash()
TERMS = HandshakeTerms(DOMAIN, 64 * 1024, 5.0)
DONE = Progress(WANTED, WANTED, 0)
IN_WORK = Progress(WANTED, WANTED - 1, 0)
NOTHING_TO_DO = Progress(WANTED - 1, WANTED - 1, 0)


class Silence:
    """The process is stopped: it takes the question and never answers."""


class Ending:
    """The process ends when it is asked."""


Answer = Message | Frame | Silence | Ending


@dataclass
class FakeStage:
    """Gives one answer after the other, the last one again and again."""

    answers: Sequence[Answer]
    asked: list[tuple[Probe, bytes]] = field(default_factory=list)

    async def serve(self, stream: Stream) -> None:
        frame = await stream.recv()
        probe = message_of(frame)
        assert isinstance(probe, Probe)
        self.asked.append((probe, frame.session))
        match self.answers[min(len(self.asked), len(self.answers)) - 1]:
            case Silence():
                await asyncio.Event().wait()
            case Ending():
                return
            case Frame() as odd:
                await stream.send(odd)
            case message:
                await stream.send(message_frame(message))


class QuietStream:
    """The route's own streams: nothing comes on them."""

    async def recv(self) -> Frame:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def close(self) -> None:
        """Nothing to do."""


def make_run() -> RouteRun:
    """A route over three stages into which 200 positions were fed."""
    quiet, nothing = cast("Stream", QuietStream()), cast("Any", None)
    channel: Any = type("Channel", (), {"cumulative": 0, "owing": 0})()
    opened = OpenRoute(ROUTE, DIGEST, PRICE, (), channel, quiet, quiet, (WANTED,) * 3, 0)
    return RouteRun(opened, range(WANTED), nothing, 256)


def record(node: LocalSigner, endpoint: str, peer: bytes) -> NodeRecord:
    return NodeRecord(node.address, node.address, peer, 1, 0, bytes(32), Span(0, 1), 1, endpoint)


def dialling(network: MemoryNetwork) -> Dial:
    transport = MemoryTransport(network, CLIENT, TERMS, b"")
    return lambda record: transport.dial(record.endpoint, record.peer)


async def ask(stages: Sequence[FakeStage | None]) -> SessionFailed | None:
    """Diagnose a route over these stages; None listens nowhere."""
    network, records = MemoryNetwork(), dict[Address, NodeRecord]()
    for number, (node, stage) in enumerate(zip(NODES, stages, strict=True)):
        peer, endpoint = bytes([number + 1]) * 32, f"memory://stage{number}:1"
        if stage is not None:
            listener = await MemoryTransport(network, SIGNER, TERMS, peer).listen(f"stage{number}", 1, stage.serve)
            assert listener.endpoint == endpoint
        records[node.address] = record(node, endpoint, peer)
    run = make_run()
    try:
        return await diagnose(run, dialling(network), records)
    finally:
        await run.abandon()


def diagnosed(*stages: Sequence[Answer]) -> SessionFailed | None:
    return run_virtual(ask([FakeStage(answers) for answers in stages]))


def blamed(failure: SessionFailed | None) -> tuple[str, int]:
    assert failure is not None
    assert failure.node == NODES[failure.stage].address
    return failure.code, failure.stage


def test_a_stage_that_computes_is_left_alone() -> None:
    """It has moved on between the two looks, though it has not come to the end."""
    slow = (Progress(WANTED, 50, 0), Progress(WANTED, 51, 0))
    assert diagnosed([DONE], slow, [NOTHING_TO_DO]) is None


def test_rows_that_arrive_are_a_movement() -> None:
    """The first look came between two stages, the second finds the row where it belongs."""
    assert diagnosed([DONE], (NOTHING_TO_DO, IN_WORK), [NOTHING_TO_DO]) is None


def test_a_stage_that_moves_speaks_for_those_before_it() -> None:
    """A stage that sends rows again waits for the one that takes them: nobody is stuck while that one computes."""
    replaying, catching_up = [IN_WORK], (Progress(128, 0, 0), Progress(128, 128, 0))
    assert diagnosed(replaying, catching_up, [NOTHING_TO_DO]) is None


def test_a_stage_with_a_queue_waits_its_turn() -> None:
    """It has our row and others before it."""
    assert diagnosed([DONE], [Progress(WANTED, WANTED - 1, 300)], [NOTHING_TO_DO]) is None


def test_a_queue_is_no_excuse_for_another_stage() -> None:
    """A first stage that has done its part and is busy with others does not hide the one that is stuck."""
    assert blamed(diagnosed([Progress(WANTED, WANTED, 300)], [IN_WORK], [NOTHING_TO_DO])) == (FailureCode.IDLE, 1)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_stage_that_has_work_and_does_not_do_it_is_stuck(stage: int) -> None:
    """Twice the same, no queue; those after it have nothing to do and are not to blame."""
    findings = [DONE] * stage + [IN_WORK] + [NOTHING_TO_DO] * (2 - stage)
    assert blamed(diagnosed(*([each] for each in findings))) == (FailureCode.IDLE, stage)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_stage_that_is_stuck_in_a_prompt_is_to_blame_itself(stage: int) -> None:
    """It reads a chunk only when it has done the one before: what it has not received is not the fault of its neighbour."""
    findings = [DONE] * stage + [Progress(128, 0, 0)] + [Progress(0, 0, 0)] * (2 - stage)
    assert blamed(diagnosed(*([each] for each in findings))) == (FailureCode.IDLE, stage)


@pytest.mark.parametrize("stage", [1, 2])
def test_rows_held_up_between_two_stages_are_the_senders(stage: int) -> None:
    """One says that it computed them, the next has had nothing and waits."""
    findings = [DONE] * stage + [NOTHING_TO_DO] * (3 - stage)
    failure = diagnosed(*([each] for each in findings))
    assert blamed(failure) == (FailureCode.IDLE, stage - 1)
    assert "does not reach" in str(failure)


def test_a_first_stage_that_does_not_read_is_stuck() -> None:
    """There is nobody before it but the client."""
    assert blamed(diagnosed([NOTHING_TO_DO], [NOTHING_TO_DO], [NOTHING_TO_DO])) == (FailureCode.IDLE, 0)


def test_a_token_that_all_have_computed_is_kept_by_the_last() -> None:
    """Only it could have sent it."""
    failure = diagnosed([DONE], [DONE], [DONE])
    assert blamed(failure) == (FailureCode.IDLE, 2)
    assert "keeps it" in str(failure)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_a_last_stage_that_tells_the_others_and_not_the_client_keeps_the_token(ahead: int) -> None:
    """The ring went on to the end of the credit: nobody before it has anything to do."""
    findings = [[Progress(WANTED + ahead, WANTED + ahead, 0)]] * 3
    assert blamed(diagnosed(*findings)) == (FailureCode.IDLE, 2)


def test_a_first_stage_that_got_all_but_the_clients_newest_token_does_not_read() -> None:
    """The ring has stopped with the credit, and what would raise it is on the way that is blocked."""
    assert blamed(diagnosed(*[[NOTHING_TO_DO]] * 3)) == (FailureCode.IDLE, 0)


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("end", [Silence(), Ending()], ids=["silent", "ending"])
def test_a_stage_that_does_not_answer_is_lost(stage: int, end: Silence | Ending) -> None:
    """At the first look, or at the second one; whatever the others say of themselves."""
    for answers in ([end], [DONE, end]):
        findings: list[Sequence[Answer]] = [[IN_WORK]] * 3
        findings[stage] = answers
        assert blamed(diagnosed(*findings)) == (FailureCode.STAGE_LOST, stage)


def test_a_stage_that_nobody_finds_is_lost() -> None:
    """Nothing listens at its endpoint any more."""
    assert blamed(run_virtual(ask([FakeStage([DONE]), None, FakeStage([DONE])]))) == (FailureCode.STAGE_LOST, 1)


def test_a_stage_that_left_the_directory_is_lost() -> None:
    """Its record is gone before anybody can dial it."""

    async def main() -> SessionFailed | None:
        run = make_run()
        try:
            return await diagnose(run, dialling(MemoryNetwork()), {})
        finally:
            await run.abandon()

    failure = run_virtual(main())
    assert blamed(failure) == (FailureCode.STAGE_LOST, 0)
    assert "directory" in str(failure)


@pytest.mark.parametrize(
    "nonsense", [tokens_frame(bytes(16), 0, 0, 0, [1]), Probe(DIGEST), Frame(FrameType.CONTROL, b"\xc1")],
    ids=["tokens", "another message", "no message"],
)  # fmt: skip
def test_a_stage_that_answers_nonsense_is_lost(nonsense: Answer) -> None:
    """It cannot be told from one that is broken."""
    assert blamed(diagnosed([DONE], [nonsense], [DONE])) == (FailureCode.STAGE_LOST, 1)


def test_a_stage_that_knows_nothing_of_the_session_has_ended_it() -> None:
    """It lives and says so; its reason is handed on."""
    failure = diagnosed([DONE], [Failure("unknown_session", "no such session")], [DONE])
    assert blamed(failure) == (FailureCode.STAGE_LOST, 1)
    assert "no such session" in str(failure)


def test_who_is_silent_comes_before_who_has_ended_the_session() -> None:
    """A stage that is lost ends the session on its neighbours: theirs is not the fault."""
    ended: list[Answer] = [Failure("unknown_session", "no such session")]
    assert blamed(diagnosed(ended, ended, [Silence()])) == (FailureCode.STAGE_LOST, 2)


def test_all_stages_are_asked_at_once_and_twice_at_most() -> None:
    """Three silent ones take the time of one; with all well the second look follows after a second."""

    async def main(answer: Answer) -> tuple[float, list[FakeStage]]:
        stages = [FakeStage([answer]) for _ in range(3)]
        began = asyncio.get_running_loop().time()
        await ask(stages)
        return asyncio.get_running_loop().time() - began, stages

    assert run_virtual(main(Silence()))[0] == PROBE_SECONDS
    seconds, stages = run_virtual(main(DONE))
    assert seconds == AGAIN_SECONDS
    assert [stage.asked for stage in stages] == [[(Probe(DIGEST, place), ROUTE.nonce[:16])] * 2 for place in range(3)]
