"""One engine for many sessions with few pages: setting aside, waiting and bringing back never change a byte."""

from pathlib import Path

import pytest
import torch

from sharding.batch_runner import Done, Failed, Waiting
from sharding.engine import Chunk
from sharding.errors import CacheFull, PoolFull, SessionExists, ShapeMismatch, TokenOutOfRange, UnknownSession
from tests.sharding.conftest import Models
from tests.sharding.runners import (
    FULL,
    PLENTY,
    Runner,
    alone,
    exact_folder,
    fill,
    kinds,
    output_of,
    page_bytes_of,
    run,
    runners_over,
    tokens_of,
)

A, B, C, STRANGER = b"a", b"b", b"c", b"x"


@pytest.fixture(scope="module")
def folder(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exact_folder(models, tmp_path_factory.mktemp("runner") / "exact")


@pytest.fixture
def runner(folder: Path) -> Runner:
    return runners_over(folder)


@pytest.fixture(scope="module")
def page_bytes(folder: Path) -> int:
    return page_bytes_of(folder)


class TestWhoGivesWay:
    """Whose pages are taken, and for whom."""

    def test_a_session_that_was_set_aside_goes_on_as_if_nothing_had_been(self, runner: Runner) -> None:
        """Copied out for another one and copied back later: the same logits as alone."""
        tight = runner(4)
        fill(tight, A, 2 * 64)
        fill(tight, B, 3 * 64)
        assert (tight.set_aside, tight.length(A)) == (1, 128)
        assert torch.equal(output_of(run(tight, a=5)[A]), alone(runner, A, 133))
        assert torch.equal(output_of(run(tight, b=1)[B]), alone(runner, B, 193))

    def test_the_younger_of_two_at_work_gives_way_and_waits(self, runner: Runner) -> None:
        """In whatever order the chunks are handed in."""
        tight = runner(4)
        fill(tight, A, 2 * 64)
        fill(tight, B, 2 * 64)
        assert kinds(run(tight, b=1, a=1)) == {A: Done, B: Waiting}
        assert (tight.set_aside, tight.length(B)) == (1, 128)

    def test_what_a_session_was_given_is_not_taken_back_in_the_same_pass(self, runner: Runner) -> None:
        """B's old rows would fit the pages that it gave up, yet one of these is A's now."""
        tight = runner(4)
        fill(tight, A, 2 * 64)
        fill(tight, B, 65)
        assert kinds(run(tight, a=1, b=1)) == {A: Done, B: Waiting}

    def test_pages_that_are_free_are_not_counted_twice(self, runner: Runner) -> None:
        """One page is left and two sessions want one each: the older has it, the other waits."""
        tight = runner(3)
        fill(tight, A, 64)
        fill(tight, B, 64)
        assert kinds(run(tight, a=1, b=1)) == {A: Done, B: Waiting}

    def test_an_idle_session_gives_way_before_one_at_work(self, runner: Runner) -> None:
        """B is the youngest, but has a chunk in this pass: the pages of C are taken, and both go on."""
        tight = runner(3)
        fill(tight, A, 64)
        fill(tight, C, 64)
        fill(tight, B, 10)
        assert kinds(run(tight, a=1, b=1)) == {A: Done, B: Done}
        assert tight.set_aside == 1

    def test_of_idle_sessions_the_lowest_priority_gives_way_then_the_youngest(self, runner: Runner) -> None:
        """Three idle ones lose their pages one after the other."""
        tight = runner(4)
        for session, priority in ((A, 1), (B, 0), (C, 1), (b"d", 1)):
            fill(tight, session, 64, priority)
        for gone in (B, C):
            assert kinds(run(tight, d=64 - tight.length(b"d") % 64)) == {b"d": Done}
            assert gone in tight._aside
        assert A not in tight._aside

    def test_an_idle_session_of_higher_priority_keeps_its_pages(self, runner: Runner) -> None:
        """Whoever pays less waits for it, and takes the pages of its equals only."""
        tight = runner(2)
        fill(tight, A, 64, priority=1)
        tight.open(B, FULL)
        assert kinds(run(tight, b=65)) == {B: Waiting}
        assert tight.set_aside == 0
        tight.close(A)
        assert kinds(run(tight, b=65)) == {B: Done}

    def test_a_session_of_higher_priority_overtakes_one_at_work(self, runner: Runner) -> None:
        """Though it came later."""
        tight = runner(2)
        fill(tight, A, 64)
        fill(tight, B, 64, priority=1)
        assert kinds(run(tight, a=1, b=1)) == {A: Waiting, B: Done}


class TestRoomToSetAside:
    """The memory for what is set aside has an end."""

    @pytest.mark.parametrize(("missing", "kind"), [(0, Done), (1, Waiting)])
    def test_nothing_is_set_aside_past_the_last_byte(
        self, runner: Runner, page_bytes: int, missing: int, kind: type
    ) -> None:
        """Room for exactly two pages takes a session of two; with one byte less who wants its pages waits."""
        tight = runner(3, swap=2 * page_bytes - missing)
        fill(tight, B, 128)
        fill(tight, A, 64)
        assert kinds(run(tight, a=64)) == {A: kind}
        assert tight.set_aside == (kind is Done)
        assert tight.length(B) == 128

    def test_a_session_that_ends_frees_its_place_aside(self, runner: Runner, page_bytes: int) -> None:
        """B is closed while it is set aside; then there is memory for C."""
        tight = runner(3, swap=page_bytes)
        for session in (C, B, A):
            fill(tight, session, 64)
        run(tight, a=1)
        assert tight.set_aside == 1
        assert kinds(run(tight, a=64)) == {A: Waiting}
        tight.close(B)
        tight.close(B)
        assert kinds(run(tight, a=64)) == {A: Done}
        with pytest.raises(UnknownSession):
            tight.length(B)


class TestFailures:
    """One session's fault is that session's."""

    def test_a_chunk_that_no_pool_could_hold_fails_at_once(self, runner: Runner) -> None:
        """The last position of two pages is computed; one more would wait for ever."""
        tight = runner(2)
        fill(tight, A, 128)
        outcome = run(tight, a=1)[A]
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, PoolFull)
        assert (outcome.error.session, outcome.error.wanted, outcome.error.free) == (A, 3, 2)
        assert tight.length(A) == 128

    def test_a_chunk_that_fails_takes_nobody_with_it(self, runner: Runner) -> None:
        """A token that the model does not have: its session is as it was, the others are computed."""
        tight = runner(4)
        for session in (A, B, C):
            fill(tight, session, 10)
        bad = Chunk(B, 10, torch.tensor([256]))
        good = [Chunk(session, 10, tokens_of(session)[10:11]) for session in (A, C)]
        outcomes = tight.run([good[0], bad, good[1]])
        assert isinstance(outcomes[1], Failed)
        assert isinstance(outcomes[1].error, TokenOutOfRange)
        for session, outcome in ((A, outcomes[0]), (C, outcomes[2]), (B, run(tight, b=1)[B])):
            assert torch.equal(output_of(outcome), alone(runner, session, 11))

    def test_every_chunk_of_a_batch_may_fail(self, runner: Runner) -> None:
        """Each for its own reason, in the order of the batch."""
        tight = runner(4)
        fill(tight, A, 10)
        tight.open(B, 4)
        batch = [
            Chunk(STRANGER, 0, tokens_of(A)[:1]), Chunk(A, 9, tokens_of(A)[:1]), Chunk(B, 0, tokens_of(B)[:5]),
        ]  # fmt: skip
        errors = [outcome.error for outcome in tight.run(batch) if isinstance(outcome, Failed)]
        assert [type(error) for error in errors] == [UnknownSession, ShapeMismatch, CacheFull]
        assert [error.session for error in errors] == [STRANGER, A, B]

    def test_an_empty_batch_is_an_empty_pass(self, runner: Runner) -> None:
        """Nothing in, nothing out."""
        assert runner(1).run([]) == []


class TestOpening:
    """What is promised to a session nobody else is promised."""

    def test_no_more_is_promised_than_there_is(self, runner: Runner) -> None:
        """Three pages of four are promised: the fourth can be had to its last position, and not one position of a fifth."""
        tight = runner(4)
        tight.open(A, FULL, promised=129)
        assert tight.unpromised_pages == 1
        with pytest.raises(PoolFull) as caught:
            tight.open(B, FULL, promised=65)
        assert (caught.value.session, caught.value.wanted, caught.value.free) == (B, 2, 1)
        tight.open(B, FULL, promised=64)
        assert tight.unpromised_pages == 0
        tight.open(C, FULL)

    def test_a_promise_is_taken_up_by_the_first_rows(self, runner: Runner) -> None:
        """It is the same page before and after it is used; set aside it is promised again; closed it is free."""
        tight = runner(4)
        tight.open(A, FULL, promised=128)
        seen = [tight.unpromised_pages]
        for rows in (64, 64, 1):
            run(tight, a=rows)
            seen.append(tight.unpromised_pages)
        fill(tight, B, 128)
        seen.append(tight.unpromised_pages)
        tight.close(B)
        seen.append(tight.unpromised_pages)
        tight.close(A)
        assert [*seen, tight.unpromised_pages] == [2, 2, 2, 1, 0, 2, 4]

    def test_a_refused_session_is_not_open(self, runner: Runner) -> None:
        """Neither where the pages are promised away, nor past the model's context, which is the engine's no."""
        tight = runner(4)
        tight.open(A, FULL)
        with pytest.raises(CacheFull):
            tight.open(B, FULL + 1)
        with pytest.raises(PoolFull):
            tight.open(B, FULL, promised=FULL + 1)
        with pytest.raises(UnknownSession):
            tight.length(B)
        tight.open(B, FULL, promised=FULL)

    def test_a_name_is_taken_also_while_its_session_is_set_aside(self, runner: Runner) -> None:
        """The engine does not know it then."""
        tight = runner(2)
        fill(tight, A, 128)
        fill(tight, B, 64)
        assert tight.set_aside == 1
        with pytest.raises(SessionExists):
            tight.open(A, FULL)


class TestSetAside:
    """A session that is set aside can do all that another one can."""

    def test_it_goes_back(self, runner: Runner) -> None:
        """Its pages are found as for a chunk, though the pool is full; then the other one goes on too."""
        tight = runner(3)
        fill(tight, A, 130)
        fill(tight, B, 130)
        tight.go_back(A, 100, 140)
        assert torch.equal(output_of(run(tight, a=5)[A]), alone(runner, A, 105))
        assert torch.equal(output_of(run(tight, b=1)[B]), alone(runner, B, 131))
        tight.go_back(A, 100, 140)
        assert kinds(run(tight, a=41)) == {A: Failed}
        assert kinds(run(tight, a=40)) == {A: Done}

    def test_going_back_needs_room(self, runner: Runner) -> None:
        """Nobody of a higher priority is set aside for it."""
        tight = runner(3)
        fill(tight, A, 130)
        fill(tight, B, 130, priority=1)
        with pytest.raises(PoolFull):
            tight.go_back(A, 100, FULL)
        assert tight.length(A) == 130
        for wrong, error in ((131, ShapeMismatch), (-1, ShapeMismatch)):
            with pytest.raises(error):
                tight.go_back(B, wrong, FULL)
        with pytest.raises(UnknownSession):
            tight.go_back(C, 0, FULL)

    def test_it_is_saved_like_any_other(self, runner: Runner) -> None:
        """The copy is the one that was made when it was set aside, and goes on elsewhere."""
        tight, elsewhere = runner(3), runner(PLENTY)
        fill(tight, A, 130)
        before = tight.save(A)
        fill(tight, B, 130)
        assert tight.set_aside == 1
        after = tight.save(A)
        assert all(torch.equal(*pair) for pair in zip(before.tensors, after.tensors, strict=True))
        elsewhere.engine.restore(A, after)
        [output] = elsewhere.engine.forward([Chunk(A, 130, tokens_of(A)[130:133])])
        assert torch.equal(output, alone(runner, A, 133))
        with pytest.raises(UnknownSession):
            tight.save(C)

    def test_its_pages_are_not_remembered_for_others(self, runner: Runner) -> None:
        """It has none to remember; an unknown one is refused."""
        tight = runner(2)
        fill(tight, A, 128)
        fill(tight, B, 64)
        tight.publish(A, [b"1", b"2"])
        tight.open(C, FULL)
        assert tight.adopt(C, [b"1", b"2"]) == 0
        tight.publish(B, [b"3"])
        assert tight.adopt(C, [b"3"]) == 64
        with pytest.raises(UnknownSession):
            tight.publish(STRANGER, [])
