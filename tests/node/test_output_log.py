"""What a stage has sent on, kept within a budget: against a plain list, and to the last byte."""

import random

import pytest
import torch

from node.output_log import LogBudget, OutputLog

WIDTH = 4
ROW_BYTES = 4 * WIDTH
PLENTY = 10**9


def rows_at(position: int, count: int, version: int = 0) -> torch.Tensor:
    """Rows that say which they are."""
    numbers = torch.arange(position, position + count, dtype=torch.int32)[:, None] * 1000 + version
    return numbers.expand(count, WIDTH).contiguous()


def filled(budget: LogBudget, *pieces: tuple[int, int]) -> OutputLog:
    """A log with the pieces (position, rows)."""
    log = OutputLog(budget)
    for position, count in pieces:
        log.append(position, rows_at(position, count))
    return log


def test_rows_come_back_across_pieces() -> None:
    """From the middle of one to the middle of another, and in the type they had."""
    log = filled(LogBudget(PLENTY), (0, 5), (5, 1), (6, 4))
    assert torch.equal(log.rows(3, 8), rows_at(3, 5))
    assert log.rows(0, 10).dtype == torch.int32


def test_it_covers_what_it_has_and_nothing_is_always_covered() -> None:
    """From its first position to its last, and not one more on either side."""
    log = filled(LogBudget(PLENTY), (10, 5))
    assert log.covers(10, 15)
    assert [log.covers(9, 15), log.covers(10, 16), log.covers(0, 1), log.covers(20, 21)] == [False] * 4
    assert [log.covers(3, 3), log.covers(99, 5), OutputLog(LogBudget(0)).covers(0, 0)] == [True] * 3


def test_rows_that_are_sent_anew_take_the_place_of_the_old() -> None:
    """A session that went back computes some positions again."""
    log = filled(LogBudget(PLENTY), (0, 5), (5, 5))
    log.append(3, rows_at(3, 4, version=1))
    assert torch.equal(log.rows(0, 7), torch.cat([rows_at(0, 3), rows_at(3, 4, version=1)]))
    assert not log.covers(0, 8)


def test_a_gap_drops_what_is_before_it() -> None:
    """Rows without gaps are all that is of use."""
    budget = LogBudget(PLENTY)
    log = filled(budget, (0, 5), (6, 2))
    assert (log.first, log.end, budget.used) == (6, 8, 2 * ROW_BYTES)


def test_a_cut_keeps_no_more_memory_than_its_rows() -> None:
    """What is left of a piece is a copy: a view would keep the whole piece."""
    log = filled(LogBudget(PLENTY), (0, 100))
    log.cut(3)
    assert log.rows(0, 3).equal(rows_at(0, 3))
    assert sum(piece.untyped_storage().nbytes() for piece in log._pieces) == 3 * ROW_BYTES


@pytest.mark.parametrize(("limit", "kept"), [(5 * ROW_BYTES, True), (5 * ROW_BYTES - 1, False)])
def test_the_last_byte_of_the_budget_can_be_used(limit: int, kept: bool) -> None:
    """Five rows fit five rows' bytes; with one less the whole session is given up, and its bytes come back."""
    budget = LogBudget(limit)
    log = filled(budget, (0, 3), (3, 2))
    assert log.covers(0, 5) is kept
    assert budget.used == (5 * ROW_BYTES if kept else 0)


def test_a_session_that_was_given_up_stays_so() -> None:
    """It takes nothing from the others any more, though there is room again; where it is, is still known."""
    budget = LogBudget(4 * ROW_BYTES)
    other = filled(budget, (0, 2))
    log = filled(budget, (0, 3), (3, 1))
    other.clear()
    log.append(4, rows_at(4, 1))
    assert (log.first, log.end, budget.used) == (5, 5, 0)
    log.cut(2)
    log.append(2, rows_at(2, 1))
    assert (log.end, budget.used) == (3, 0)


class PlainLog:
    """The same with a list of numbers, and no thought for speed."""

    def __init__(self) -> None:
        self.first, self.rows, self.given_up = 0, list[int](), False

    @property
    def end(self) -> int:
        return self.first + len(self.rows)

    def append(self, position: int, rows: list[int]) -> None:
        self.cut(position)
        if position != self.end:
            self.first, self.rows = position, []
        self.first, self.rows = (self.first, self.rows + rows) if not self.given_up else (position + len(rows), [])

    def give_up(self) -> None:
        self.first, self.rows, self.given_up = self.end, [], True

    def cut(self, length: int) -> None:
        self.rows = self.rows[: max(0, length - self.first)]
        if not self.rows:
            self.first = min(self.first, length)

    def clear(self) -> None:
        self.first, self.rows = 0, []


def check_same(log: OutputLog, plain: PlainLog) -> None:
    assert (log.first, log.end) == (plain.first, plain.end)
    if plain.rows:
        assert log.rows(plain.first, plain.end)[:, 0].tolist() == plain.rows


@pytest.mark.parametrize("seed", range(40))
def test_any_operations_give_what_a_plain_list_gives(seed: int) -> None:
    """Three sessions share a budget that is sometimes too small; it is never overdrawn and never off by a byte."""
    chance = random.Random(seed)
    budget = LogBudget(chance.choice((20, 60, 10_000)) * ROW_BYTES)
    logs = [(OutputLog(budget), PlainLog()) for _ in range(3)]
    for step in range(80):
        log, plain = chance.choice(logs)
        match chance.choice("aaaaaacd"):
            case "a":
                count, at = chance.randrange(1, 9), plain.end - chance.choice((0, 0, 0, 0, 1, 5, -2))
                new = rows_at(max(0, at), count, step)
                log.append(max(0, at), new)
                plain.append(max(0, at), new[:, 0].tolist())
                if sum(len(each.rows) for _, each in logs) * ROW_BYTES > budget.limit:
                    plain.give_up()
            case "c":
                length = chance.randrange(plain.end + 3)
                log.cut(length)
                plain.cut(length)
            case _:
                if chance.random() < 0.2:
                    log.clear()
                    plain.clear()
        check_same(log, plain)
        assert budget.used == sum(len(each.rows) for _, each in logs) * ROW_BYTES <= budget.limit
