"""Nodes that place themselves, each by its own view: all blocks are found, gaps closed, moves drained first, liars outlived."""

import asyncio
import time
from dataclasses import replace

import pytest

from node.placing import FAILED_SECONDS, JOIN_TRIES
from sharding.errors import EngineError, PlacementError
from sharding.placement_values import Holding, Phase, count
from sharding.span import Span
from tests.faults.virtual_time import run_virtual
from tests.node.board import Board, Member
from tests.node.records import address, record
from verification.node_records import ServedSpan
from verification.placement_claims import PlacementClaim


def phases(member: Member) -> list[Phase]:
    """What a node has said of itself, in order."""
    return [each.phase for each in member.told]


def test_nodes_that_join_one_after_another_cover_the_model() -> None:
    """Each claims, loads and serves what the earlier ones left; the chain is told of what is served."""

    async def main() -> None:
        board = Board(8)
        members = []
        for number in range(1, 5):
            members.append(board.add(number, 2))
            await asyncio.wait_for(members[-1].placing.joined.wait(), 10)
        assert board.coverage.holders.tolist() == [1] * 8
        for each in members:
            assert phases(each) == [Phase.CLAIMING, Phase.LOADING, Phase.SERVING]
            assert each.served == [each.host.spans]
        assert board.uncovered == 0

    run_virtual(main())


@pytest.mark.parametrize("seed", range(6))
def test_nodes_that_join_at_once_cover_the_model(seed: int) -> None:
    """Three with four blocks each on an empty network; whoever is left over by the claims finds the gap."""

    async def main() -> None:
        board = Board(8, seed)
        for number in range(1, 4):
            board.add(number, 4)
        assert await board.until_covered(15) < 15
        await asyncio.sleep(200)
        assert board.coverage.uncovered == board.uncovered == 0
        assert sum(count(each.host.spans) for each in board.there()) == 12

    run_virtual(main(), seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_gap_is_closed_within_seconds(seed: int) -> None:
    """The only holder of some blocks is gone; its record lives on for half a minute, but nobody answers."""

    async def main() -> None:
        board = Board(8, seed)
        for number in range(1, 4):
            board.add(number, 4)
        await board.until_covered(20)
        await asyncio.sleep(100)
        for number in (1, 2, 3):
            if sum(each.host.spans == board.members[number].host.spans for each in board.there()) == 1:
                board.kill(number)
                break
        assert await board.until_covered(15) < 12
        assert board.uncovered == 0

    run_virtual(main(), seed)


async def unbalanced(board: Board) -> list[Member]:
    """Two fast nodes over the same two of four blocks, and a slow one alone over the others; returns the two."""
    for number, rate in ((1, 8.0), (2, 4.0), (3, 8.0), (4, 8.0)):
        await asyncio.wait_for(board.add(number, 2, rate).placing.joined.wait(), 10)
    slow = board.members[2].host.spans
    for each in board.there():
        if each.number != 2 and each.host.spans == slow:
            board.kill(each.number)
    pair = [each for each in board.there() if each.number != 2]
    assert [each.host.spans for each in pair] == [pair[0].host.spans] * 2
    return pair


def moves_of(member: Member, phase: Phase) -> list[Holding]:
    """The moves that give up something, as they were in that phase."""
    return [each for each in member.told if each.phase is phase and each.move and each.move.give]


@pytest.mark.parametrize("busy", [True, False])
def test_a_better_placement_is_reached_by_a_move_that_drains_first(busy: bool) -> None:
    """One of two goes to where a slow one is alone; a session that is still there shortly before the end goes on elsewhere."""

    async def main() -> Member:
        board = Board(4, drain=20.0)
        pair, before = await unbalanced(board), board.coverage.weakest
        for each in pair if busy else []:
            each.host.sessions.append(each.host.spans[0])
        await asyncio.sleep(120)
        assert board.uncovered == 0
        assert board.coverage.weakest > 1.5 * before
        [moved] = [each for each in pair if moves_of(each, Phase.LOADING)]
        return moved

    moved = run_virtual(main())
    drained, loaded = (moves_of(moved, phase)[0].since for phase in (Phase.DRAINING, Phase.LOADING))
    assert (14 < loaded - drained < 18) if busy else (loaded - drained < 2)
    assert (moved.host.moves, moved.host.cut) == (int(busy), 0)


def test_blocks_that_cannot_be_loaded_are_tried_again_and_then_given_up() -> None:
    """Somebody who joins tries three times."""

    async def main(failures: int) -> Member:
        member = Board(2).add(1, 2)
        member.host.failures = failures
        assert member.running is not None
        await asyncio.wait({member.running, asyncio.create_task(member.placing.joined.wait())}, timeout=60,
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        return member

    assert run_virtual(main(JOIN_TRIES - 1)).host.spans == (Span(0, 2),)
    failed = run_virtual(main(JOIN_TRIES)).running
    assert failed is not None
    assert isinstance(failed.exception(), EngineError)


def test_a_move_whose_load_fails_leaves_the_node_as_it_was() -> None:
    """What it had given up is in its memory still."""

    async def main() -> None:
        board = Board(4)
        pair = await unbalanced(board)
        for each in pair:
            each.host.failures = 1
        before = pair[0].host.spans
        while not (tried := [each for each in pair if not each.host.failures]):
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert moves_of(tried[0], Phase.DRAINING)
        assert tried[0].host.spans == tried[0].placing.holding.spans == before
        assert tried[0].placing.holding.phase is Phase.SERVING
        assert (board.uncovered, board.coverage.uncovered) == (0, 0)

    run_virtual(main())


@pytest.mark.parametrize(("failures", "pauses"), [(0, 0.0), (1, FAILED_SECONDS), (2, 3 * FAILED_SECONDS)])
def test_after_a_failed_load_a_node_rests(failures: int, pauses: float) -> None:
    """Longer each time, even while there is a gap: another node may have better luck."""

    async def main() -> float:
        board = Board(4)
        for number, blocks in ((1, 2), (2, 4)):
            await asyncio.wait_for(board.add(number, blocks, 8.0 / number).placing.joined.wait(), 10)
        other = board.members[2]
        assert count(other.host.spans) == 2
        other.host.failures = failures
        board.kill(1)
        return await board.until_covered(600)

    assert pauses <= run_virtual(main()) < pauses + 20


def test_a_node_that_can_take_nothing_back_tells_the_chain_of_nothing() -> None:
    """Whoever announces names a span."""

    async def main() -> None:
        board = Board(4)
        pair = await unbalanced(board)

        async def fails(spans: tuple[Span, ...]) -> None:
            await asyncio.sleep(0.1)
            raise EngineError("no engine can be made")

        for each in pair:
            each.host.change = fails  # type: ignore[method-assign]
        async with asyncio.timeout(300):
            while not (tried := [each for each in pair if each.placing.holding.planned == ()]):
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert tried[0].placing.holding == replace(tried[0].placing.holding, spans=(), phase=Phase.SERVING, move=None)
        assert () not in tried[0].served

    run_virtual(main())


def test_a_node_without_memory_for_a_block_says_so() -> None:
    """Before it has claimed anything."""

    async def main() -> None:
        member = Board(2).add(1, 0)
        assert member.running is not None
        with pytest.raises(PlacementError, match="capacity_bytes"):
            await member.running

    run_virtual(main())


def test_nobody_gives_up_blocks_on_the_word_of_a_silent_node() -> None:
    """The other holder dies after a move was claimed: its record counts still, but it does not answer, and the move is off."""

    async def main() -> None:
        board = Board(4)
        pair = await unbalanced(board)
        while not (moving := [each for each in pair if moves_of(each, Phase.CLAIMING)]):
            await asyncio.sleep(0.1)
        [other] = [each for each in pair if each is not moving[0]]
        board.kill(other.number)
        await asyncio.sleep(20)
        assert not moves_of(moving[0], Phase.DRAINING)
        assert moving[0].placing.holding.phase is Phase.SERVING
        assert (board.uncovered, board.coverage.uncovered) == (0, 0)

    run_virtual(main())


def test_a_node_that_announces_a_load_for_ever_does_not_hide_the_gap() -> None:
    """It is believed for the time of a patient move; each time that it announces another it is the same one."""

    async def main() -> float:
        board = Board(4, patience=60.0)
        honest = board.add(1, 4, rate=8.0)
        liar = board.add(2, 2)
        assert liar.running is not None
        liar.running.cancel()
        sequence = 0

        async def lie() -> None:
            nonlocal sequence
            while True:
                sequence += 1
                now = int(time.time())
                claim = PlacementClaim(400, 10**12, Phase.LOADING, now * 1000, (), (Span(0, 4),), 4)
                made = replace(record(2, sequence, now), spans=(), placement=claim)
                made.struct_hash()
                board.post(liar, made)
                await asyncio.sleep(3)

        await asyncio.wait_for(honest.placing.joined.wait(), 10)
        small = board.add(3, 1)
        await asyncio.wait_for(small.placing.joined.wait(), 10)
        lying = asyncio.create_task(lie())
        await asyncio.sleep(2)
        board.kill(1)
        patient = board.add(4, 4)
        took = await board.until_covered(120)
        lying.cancel()
        assert patient.host.spans
        return took

    assert run_virtual(main()) < 100


def test_claims_outside_the_model_count_for_nothing() -> None:
    """A record may be signed and speak of another world."""

    async def main() -> None:
        board = Board(4)
        for number, span in ((7, ServedSpan(0, 1024, 1, 1)), (8, ServedSpan(4, 5, 1, 1))):
            liar = Member(number, board, board.add(number, 4).offer, board.members[number].host)
            board.members.pop(number).running.cancel()  # type: ignore[union-attr]
            made = replace(record(number, 1, int(time.time())), spans=(span,))
            board.members[number] = liar
            liar.known[made.node] = made
        honest = board.add(1, 4)
        await asyncio.wait_for(honest.placing.joined.wait(), 10)
        assert honest.known.keys() >= {address(7), address(8)}
        assert honest.host.spans == (Span(0, 4),)

    run_virtual(main())


# Leaving


@pytest.mark.parametrize("room", [4, 2])
def test_a_node_that_leaves_waits_until_others_hold_its_blocks(room: int) -> None:
    """Or until the time that it was given is up, where nobody has the memory."""

    async def main() -> None:
        board = Board(4)
        for number, blocks in ((1, 2), (2, room)):
            await asyncio.wait_for(board.add(number, blocks).placing.joined.wait(), 10)
        leaving, began = board.members[1], time.time()
        await leaving.placing.leave(20.0)
        took = time.time() - began
        assert leaving.placing.holding.phase is Phase.LEAVING
        assert leaving.host.spans == leaving.placing.holding.spans, "it serves to the end"
        board.kill(1)
        assert (took < 10, board.coverage.uncovered) == ((True, 0) if room == 4 else (False, 2))

    run_virtual(main())


def test_a_node_that_leaves_in_the_middle_of_a_drain_serves_what_it_was_giving_up() -> None:
    """It is in memory still, and whoever counted on the move hears that it is off."""

    async def main() -> None:
        board = Board(4)
        pair = await unbalanced(board)
        for each in pair:
            each.host.sessions.append(each.host.spans[0])
        while not (moving := [each for each in pair if moves_of(each, Phase.DRAINING)]):
            await asyncio.sleep(0.1)
        assert moving[0].host.spans == ()
        await moving[0].placing.leave(3.0)
        assert moving[0].host.spans == moving[0].placing.holding.spans == pair[0].placing.holding.spans
        assert (moving[0].placing.holding.phase, moving[0].host.cut) == (Phase.LEAVING, 0)

    run_virtual(main())


def test_a_node_that_leaves_while_it_loads_finds_no_other_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load takes longer than the time that it was given to leave. It ends what it began, and closes no gap any more."""

    async def main() -> None:
        board = Board(6)
        for number, blocks, rate in ((1, 2, 8.0), (3, 2, 8.0), (2, 6, 2.0)):
            await asyncio.wait_for(board.add(number, blocks, rate).placing.joined.wait(), 10)
        assert board.coverage.holders.tolist() == [1] * 6
        monkeypatch.setattr("tests.node.board.LOAD_SECONDS", 30.0)
        leaving, said = board.members[2], len(board.members[2].told)
        board.kill(1)
        async with asyncio.timeout(60):
            while Phase.LOADING not in phases(leaving)[said:]:
                await asyncio.sleep(0.1)
        await leaving.placing.leave(3.0)
        board.kill(3)
        said = len(leaving.told)
        await asyncio.sleep(200)
        assert (phases(leaving)[said:], board.coverage.uncovered) == ([Phase.SERVING], 2)

    run_virtual(main())
