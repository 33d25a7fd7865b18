"""Where there is no memory to set anybody aside: who begins again, for whom, and that no byte is another one for it."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sharding.batch_runner import BatchRunner, Done, Failed, Outcome, Waiting
from sharding.engine import Chunk
from sharding.errors import PoolFull, UnknownSession
from tests.sharding.conftest import Models
from tests.sharding.runners import (
    FULL,
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
    return exact_folder(models, tmp_path_factory.mktemp("preemption") / "exact")


@pytest.fixture
def runner(folder: Path) -> Runner:
    return runners_over(folder)


def is_full(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and isinstance(outcome.error, PoolFull)


class TestWhoBeginsAgain:
    """The last in rank, and no more of them than it takes."""

    def test_the_first_goes_on_at_once_and_the_youngest_is_told(self, runner: Runner) -> None:
        """Three sessions fill the pool and all want a page: one goes on, one waits, one begins again."""
        tight = runner(3, swap=0)
        for session in (A, B, C):
            fill(tight, session, 64)
        outcomes = run(tight, a=1, b=1, c=1)
        assert kinds(outcomes) == {A: Done, B: Waiting, C: Failed}
        assert is_full(outcomes[C])
        assert [tight.length(each) for each in (A, B, C)] == [65, 64, 0]
        assert torch.equal(output_of(outcomes[A]), alone(runner, A, 65))

    def test_a_low_priority_gives_way_before_a_younger_session(self, runner: Runner) -> None:
        """B is the oldest, and pays less than the two that came after it."""
        tight = runner(3, swap=0)
        for session, priority in ((B, 0), (A, 1), (C, 1)):
            fill(tight, session, 64, priority)
        assert kinds(run(tight, a=1, b=1, c=1)) == {A: Done, B: Failed, C: Waiting}

    def test_one_that_is_idle_is_told_at_its_next_chunk(self, runner: Runner) -> None:
        """Its place in the queue is what counts."""
        tight = runner(2, swap=0)
        fill(tight, A, 64)
        fill(tight, B, 60)
        assert kinds(run(tight, a=1)) == {A: Done}
        assert (tight.length(B), tight.set_aside) == (0, 0)
        [outcome] = tight.run([Chunk(B, 60, tokens_of(B)[60:61])])
        assert is_full(outcome)

    def test_the_second_waits_while_anybody_goes_on(self, runner: Runner) -> None:
        """C has room in its page; when it has none either, it begins again and B goes on."""
        tight = runner(3, swap=0)
        fill(tight, A, 10)
        fill(tight, B, 64)
        fill(tight, C, 63)
        assert kinds(run(tight, b=1, c=1)) == {B: Waiting, C: Done}
        assert kinds(run(tight, b=1, c=1)) == {B: Done, C: Failed}
        assert tight.length(A) == 10

    def test_nobody_begins_again_for_one_who_could_not_go_on_then(self, runner: Runner) -> None:
        """B wants two pages, C has one, and what A has B may not take; one page C must give."""
        tight = runner(3, swap=0)
        fill(tight, A, 64)
        fill(tight, B, 64)
        fill(tight, C, 64)
        assert kinds(run(tight, b=65)) == {B: Waiting}
        assert kinds(run(tight, b=64)) == {B: Done}

    def test_the_last_in_rank_waits(self, runner: Runner) -> None:
        """Whoever came before it keeps what it has."""
        tight = runner(2, swap=0)
        fill(tight, A, 64)
        fill(tight, B, 64)
        assert kinds(run(tight, b=1)) == {B: Waiting}
        assert (tight.length(A), tight.length(B)) == (64, 64)

    def test_an_unknown_session_takes_nothing(self, runner: Runner) -> None:
        """It fails, and the others are as they were."""
        tight = runner(1, swap=0)
        fill(tight, A, 64)
        [outcome] = tight.run([Chunk(STRANGER, 0, tokens_of(A)[:1])])
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, UnknownSession)
        assert tight.length(A) == 64


class TestComingBack:
    """A session that gave its cache up begins again from its first position."""

    def test_it_computes_the_same_again(self, runner: Runner) -> None:
        """Once there is room."""
        tight = runner(2, swap=0)
        fill(tight, A, 64)
        fill(tight, B, 64)
        run(tight, a=1)
        tight.close(A)
        tight.go_back(B, 0, FULL)
        assert torch.equal(output_of(run(tight, b=65)[B]), alone(runner, B, 65))

    def test_it_comes_back_when_there_is_room_for_what_it_had(self, runner: Runner) -> None:
        """One page short it is refused, however often it asks; a session that is new finds that room taken."""
        tight = runner(3, swap=0)
        fill(tight, A, 128)
        fill(tight, B, 64)
        assert kinds(run(tight, a=1)) == {A: Done}
        for length in (0, 64):
            with pytest.raises(PoolFull):
                tight.go_back(B, length, FULL)
        tight.go_back(A, 128, FULL)
        with pytest.raises(PoolFull):
            tight.open(C, FULL, promised=1)
        with pytest.raises(PoolFull):
            tight.go_back(B, 64, FULL)
        tight.go_back(B, 0, FULL)
        assert kinds(run(tight, b=64)) == {B: Done}

    def test_nothing_is_remembered_of_it(self, runner: Runner) -> None:
        """It has no pages to remember, and nothing to save."""
        tight = runner(2, swap=0)
        fill(tight, A, 64)
        fill(tight, B, 64)
        tight.open(C, FULL)
        run(tight, a=1)
        tight.publish(B, [b"1"])
        assert tight.adopt(C, [b"1"]) == 0
        assert tight.save(B).length == 0


@dataclass
class Client:
    """Computes a session to its end, from the beginning again where it must; keeps the last logits."""

    name: bytes
    rows: int
    last: torch.Tensor | None = None

    def next(self, runner: BatchRunner, count: int) -> Chunk:
        at = runner.length(self.name)
        return Chunk(self.name, at, tokens_of(self.name)[at : min(self.rows, at + count)])

    def hear(self, runner: BatchRunner, outcome: Outcome) -> None:
        if isinstance(outcome, Done):
            self.last = outcome.output
        elif isinstance(outcome, Failed):
            assert is_full(outcome), outcome

    def is_done(self, runner: BatchRunner) -> bool:
        return runner.length(self.name) == self.rows


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("swap_pages", [0, 1])
def test_any_schedule_ends_without_memory_to_set_aside(
    runner: Runner, folder: Path, seed: int, swap_pages: int
) -> None:
    """The first in rank computes in each pass that it is in, and all get what they get alone."""
    chance = random.Random(seed)
    tight = runner(4, swap=swap_pages * page_bytes_of(folder))
    left = [Client(bytes([97 + number]), chance.randrange(30, 200)) for number in range(chance.randrange(2, 6))]
    for client in left:
        tight.open(client.name, FULL, priority=chance.randrange(2))
    for _ in range(3000):
        if not left:
            break
        chosen = chance.sample(left, chance.randrange(1, len(left) + 1))
        outcomes = tight.run([each.next(tight, chance.choice((1, 1, 17, 64))) for each in chosen])
        for client, outcome in zip(chosen, outcomes, strict=True):
            client.hear(tight, outcome)
            assert isinstance(outcome, Done) or not tight._tenants.is_first(client.name)
        for client in [each for each in left if each.is_done(tight)]:
            assert client.last is not None
            assert torch.equal(client.last, alone(runner, client.name, client.rows))
            tight.close(client.name)
            left.remove(client)
    assert not left
    assert (tight.set_aside, tight.engine.pages.free) == (0, 4)
