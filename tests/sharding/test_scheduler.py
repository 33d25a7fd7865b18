"""Which chunks go into a pass: decodes together, one prompt always, more while the budget lasts, the important first."""

import random
from dataclasses import replace

import pytest

from sharding.scheduler import Ready, choose

BUDGET = 8


def prompt(rows: int, arrival: int, priority: int = 0) -> Ready:
    return Ready(rows, priority, arrival)


def decodes(count: int, first: int = 0, priority: int = 0) -> list[Ready]:
    return [Ready(1, priority, first + number) for number in range(count)]


def rows_of(chosen: list[Ready]) -> int:
    return sum(each.rows for each in chosen)


def test_nothing_ready_is_nothing_chosen() -> None:
    """An empty pass is no error."""
    assert choose([], BUDGET) == []


def test_one_row_is_a_decode_and_two_are_a_prompt() -> None:
    """A prompt's last token alone costs what a decode costs."""
    assert [Ready(rows, 0, 0).is_decode for rows in (1, 2)] == [True, False]


def test_decodes_of_all_sessions_go_together_up_to_the_budget() -> None:
    """Eight of eight; of nine the one that came last waits."""
    assert choose(decodes(BUDGET), BUDGET) == decodes(BUDGET)
    assert choose(decodes(BUDGET + 1), BUDGET) == decodes(BUDGET)


def test_a_prompt_gets_its_chunk_in_whatever_the_decodes_take() -> None:
    """A budget that decodes use up, and a chunk that is larger than the whole budget, do not starve it."""
    waiting = prompt(10 * BUDGET, arrival=99)
    assert choose([*decodes(2 * BUDGET), waiting], BUDGET) == [*decodes(BUDGET), waiting]


def test_decodes_go_beside_any_prompt() -> None:
    """A prompt that came first takes no decode's place: a decode waits for one chunk at most."""
    assert choose([prompt(10 * BUDGET, arrival=0), *decodes(3, first=1)], BUDGET)[:3] == decodes(3, first=1)


@pytest.mark.parametrize(("second", "goes_in"), [(3, True), (4, False)])
def test_a_second_prompt_goes_in_only_while_the_budget_lasts(second: int, goes_in: bool) -> None:
    """Two decodes, a chunk of three and a chunk of three fill eight rows; one row more is too much."""
    ready = [*decodes(2), prompt(3, arrival=5), prompt(second, arrival=6)]
    assert (ready[-1] in choose(ready, BUDGET)) is goes_in


def test_prompts_go_in_the_order_of_their_arrival() -> None:
    """A small one does not slip past a large one that has waited longer."""
    ready = [prompt(2, arrival=7), prompt(7, arrival=6), prompt(4, arrival=5)]
    assert choose(ready, BUDGET) == [ready[2]]


def test_a_higher_priority_goes_first_among_decodes_and_among_prompts() -> None:
    """Whoever pays for it overtakes those who came before."""
    late = prompt(BUDGET, arrival=50, priority=1)
    assert choose([prompt(BUDGET, arrival=1), late], BUDGET) == [late]
    ready = [*decodes(BUDGET), *decodes(2, first=60, priority=1)]
    assert choose(ready, BUDGET) == [*ready[-2:], *ready[: BUDGET - 2]]


@pytest.mark.parametrize("seed", range(20))
def test_no_pass_is_longer_than_the_budget_and_one_chunk(seed: int) -> None:
    """Of any mix: nothing twice, nothing invented, something always, and past the budget only by the oldest prompt."""
    chance = random.Random(seed)
    kinds = [chance.choice((1, 1, 2, 5, 8, 30)) for _ in range(chance.randrange(1, 30))]
    ready = [Ready(rows, chance.randrange(2), arrival) for arrival, rows in enumerate(kinds)]
    chance.shuffle(ready)
    chosen = choose(ready, BUDGET)
    assert chosen
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(ready)
    prompts = [each for each in chosen if not each.is_decode]
    assert rows_of(chosen) - (prompts[0].rows if prompts else 0) <= BUDGET


@pytest.mark.parametrize("seed", range(10))
def test_nobody_starves_under_a_load_that_never_ends(seed: int) -> None:
    """While every decode that is done comes again and new prompts keep arriving, each chunk's turn comes in bounded time."""
    chance = random.Random(seed)
    ready, arrival = [*decodes(3 * BUDGET), *(prompt(5, 100 + number) for number in range(6))], 200
    first = set(ready)
    for _ in range(10):
        chosen = choose(ready, BUDGET)
        first -= set(chosen)
        again = [each for each in chosen if each.is_decode] + [prompt(chance.randrange(2, 9), 0)]
        ready = [each for each in ready if each not in chosen]
        ready += [replace(each, arrival=arrival + number) for number, each in enumerate(again)]
        arrival += len(again)
    assert not first
