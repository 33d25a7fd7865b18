"""Random schedules over few pages: each ends, the first in rank is never held up, and no byte is another one."""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sharding.batch_runner import BatchRunner, Done
from sharding.engine import Chunk
from sharding.errors import PoolFull
from sharding.paging import PAGE_POSITIONS
from tests.sharding.conftest import Models
from tests.sharding.runners import (
    FULL,
    PLENTY,
    Runner,
    alone,
    exact_folder,
    fill,
    output_of,
    run,
    runners_over,
    tokens_of,
)

LONGEST = 3 * PAGE_POSITIONS
PREFIX = (b"one page", b"two pages")


@pytest.fixture(scope="module")
def folder(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exact_folder(models, tmp_path_factory.mktemp("schedules") / "exact")


@pytest.fixture
def runner(folder: Path) -> Runner:
    return runners_over(folder)


@dataclass
class Work:
    """One session: where its chunks end, and the logits after each of them when nobody disturbs it."""

    name: bytes
    priority: int
    tokens: torch.Tensor
    ends: list[int]
    right: dict[int, torch.Tensor]

    def next(self, runner: BatchRunner) -> Chunk:
        at = runner.length(self.name)
        return Chunk(self.name, at, self.tokens[at : next(end for end in self.ends if end > at)])

    def is_done(self, runner: BatchRunner) -> bool:
        return runner.length(self.name) == self.ends[-1]

    def compute_alone(self, plenty: BatchRunner) -> None:
        plenty.open(self.name, FULL)
        self.right = {end: output_of(plenty.run([self.next(plenty)])[0]) for end in self.ends}


def make_work(chance: random.Random, number: int, prefix: torch.Tensor) -> Work:
    """A prompt in a few chunks, then single rows."""
    cuts = sorted({chance.randrange(1, LONGEST - 30) for _ in range(chance.randrange(1, 4))})
    ends = cuts + [cuts[-1] + row for row in range(1, chance.randrange(2, 30))]
    name = bytes([97 + number])
    return Work(name, chance.randrange(2), torch.cat([prefix, tokens_of(name)])[:FULL], ends, {})


def make_all(chance: random.Random, plenty: BatchRunner, prefix: torch.Tensor) -> list[Work]:
    """Two to six of them, in the order in which they are opened."""
    works = [make_work(chance, number, prefix) for number in range(chance.randrange(2, 7))]
    for work in works:
        work.compute_alone(plenty)
    return works


def run_pass(runner: BatchRunner, works: Sequence[Work]) -> list[bool]:
    """Whether each session's chunk was computed; a wrong byte ends the test."""
    outcomes = runner.run([work.next(runner) for work in works])
    for work, outcome in zip(works, outcomes, strict=True):
        if isinstance(outcome, Done):
            assert torch.equal(outcome.output, work.right[runner.length(work.name)])
    return [isinstance(outcome, Done) for outcome in outcomes]


def go_back(runner: BatchRunner, work: Work, chance: random.Random) -> None:
    """As a new route of a session has it do, unless there is no room to bring it back now."""
    with suppress(PoolFull):
        runner.go_back(work.name, chance.randrange(runner.length(work.name) + 1), FULL)


def run_to_the_end(runner: BatchRunner, works: list[Work], chance: random.Random) -> None:
    """Every third pass has all sessions in it: the oldest of the highest priority goes on then, whatever the others hold."""
    left, passes = list(works), 40 * sum(len(work.ends) for work in works)
    for turn in range(passes):
        if not left:
            break
        everybody = turn % 3 == 0
        chosen = left if everybody else chance.sample(left, chance.randrange(1, len(left) + 1))
        done = run_pass(runner, chosen)
        first = max(left, key=lambda work: work.priority)
        assert not everybody or done[left.index(first)]
        if chance.random() < 0.1:
            go_back(runner, chance.choice(left), chance)
        for work in [work for work in left if work.is_done(runner)]:
            runner.close(work.name)
            left.remove(work)
    assert not left


@pytest.mark.parametrize("seed", range(12))
def test_any_schedule_ends_and_gives_what_each_session_gives_alone(runner: Runner, seed: int) -> None:
    """Over four or five pages, by turns and together, some sessions going back in between."""
    chance = random.Random(seed)
    pages = chance.choice((4, 5))
    tight, works = runner(pages), make_all(chance, runner(PLENTY), torch.empty(0, dtype=torch.int64))
    for work in works:
        tight.open(work.name, FULL, priority=work.priority)
    run_to_the_end(tight, works, chance)
    assert (tight.set_aside, tight.engine.pages.free) == (0, pages)


@pytest.mark.parametrize("seed", range(12))
def test_sessions_that_share_a_prefix_keep_their_own_bytes(runner: Runner, seed: int) -> None:
    """All begin with two pages that are remembered, some adopt them, and all go on differently."""
    chance = random.Random(100 + seed)
    pages, prefix = chance.choice((5, 6)), tokens_of(b"p")[:128]
    tight, works = runner(pages), make_all(chance, runner(PLENTY), prefix)
    fill(tight, b"p", 128)
    tight.publish(b"p", PREFIX)
    tight.close(b"p")
    for work in works:
        tight.open(work.name, FULL, priority=work.priority)
        if work.ends[-1] > 128 and chance.random() < 0.7:
            assert tight.adopt(work.name, PREFIX) == 128
    run_to_the_end(tight, works, chance)
    assert (tight.set_aside, tight.engine.pages.free) == (0, pages)


def test_the_same_number_of_other_pages_are_other_pages(runner: Runner) -> None:
    """A session that went back gave two pages away and gets two others: it reads and writes these and no more the old ones."""
    made = runner(6)
    fill(made, b"a", 130)
    made.go_back(b"a", 10, FULL)
    fill(made, b"b", 128)
    run(made, a=120)
    assert torch.equal(output_of(run(made, b=1)[b"b"]), alone(runner, b"b", 129))
    assert torch.equal(output_of(run(made, a=1)[b"a"]), alone(runner, b"a", 131))
