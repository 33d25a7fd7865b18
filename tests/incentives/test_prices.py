"""What a route costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.errors import PayeesError, PriceError
from incentives.payees import MAX_PAYEES, POOL_BPS, WHOLE_BPS, Payee, payee_words, share_of
from incentives.prices import (
    MAX_ASK,
    RoutePrice,
    StagePrice,
    paid_blocks,
    route_payees,
    route_price,
    stage_price,
    with_pool,
    without_pool,
)
from sharding.errors import SpanError
from sharding.span import Span
from verification.addresses import to_address

NODES = tuple(to_address(bytes([index]) * 20) for index in range(1, 5))
POOL = to_address(bytes([9]) * 20)


def stages(*offers: tuple[int, int, int]) -> list[StagePrice]:
    """(start, end, ask) per stage."""
    return [StagePrice(node, Span(start, end), ask) for node, (start, end, ask) in zip(NODES, offers, strict=False)]


def test_the_first_and_the_last_stage_are_paid_one_pseudo_block_more() -> None:
    """The embedding and the head."""
    assert [paid_blocks(Span(*span), 6) for span in ((0, 2), (2, 4), (4, 6), (0, 6))] == [3, 2, 3, 8]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_any_cut_of_a_model_pays_for_the_same_number_of_blocks(lengths: list[int]) -> None:
    """All blocks and the two pseudo-blocks."""
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    spans = [Span(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    assert sum(paid_blocks(span, ends[-1]) for span in spans) == ends[-1] + 2


def test_a_route_costs_the_sum_of_its_stages_and_the_pools_share_on_top() -> None:
    """(2 + 1) x 100 + 2 x 200 + (2 + 1) x 300 are 97.5 % of it, rounded up."""
    route = stages((0, 2, 100), (2, 4, 200), (4, 6, 300))
    assert route_price(route, 6).per_token == 1_642 == -(-(300 + 400 + 900) * 1000 // 975)
    payees = route_payees(route, 6, POOL)
    assert [payee.weight_bps for payee in payees[:-1]] == [1_828, 2_438, 5_484]
    assert [payee.node for payee in payees[:-1]] == list(NODES[:3])
    assert payees[-1] == Payee(POOL, POOL_BPS)


@given(st.integers(0, 2**104))
def test_the_pools_share_takes_nothing_from_the_stages_and_a_ceiling_holds_with_it(amount: int) -> None:
    """The price is the least that leaves the stages what they ask; a ceiling leaves them the most that it can."""
    price = with_pool(amount)
    assert share_of(price, WHOLE_BPS - POOL_BPS) >= amount
    assert not amount or share_of(price - 1, WHOLE_BPS - POOL_BPS) < amount
    assert with_pool(without_pool(amount)) <= amount < with_pool(without_pool(amount) + 1)


@given(st.lists(st.integers(0, 10**24), min_size=1, max_size=8))
def test_all_shares_of_a_route_are_10000_with_the_pools(asks: list[int]) -> None:
    """And every stage has some."""
    route = [StagePrice(NODES[i % 4], Span(i, i + 1), ask) for i, ask in enumerate(asks)]
    weights = [payee.weight_bps for payee in route_payees(route, len(asks), POOL)]
    assert (sum(weights), weights[-1]) == (WHOLE_BPS, POOL_BPS)
    assert min(weights) >= 1


@given(st.integers(0, 2**100), st.integers(0, 10**6))
def test_prefill_is_an_eighth_rounded_up(per_token: int, tokens: int) -> None:
    """Never less than exact, never a whole unit more."""
    cost = RoutePrice(per_token).prefill_cost(tokens)
    assert 0 <= 8 * cost - tokens * per_token < 8
    assert RoutePrice(per_token).decode_cost(tokens) == tokens * per_token


def test_negative_numbers_of_tokens_have_no_price() -> None:
    """They would be a refund."""
    for cost in (RoutePrice(1).prefill_cost, RoutePrice(1).decode_cost):
        with pytest.raises(PriceError):
            cost(-1)
    for held in ((), (0, 0, 0), (1, 2, 3)):
        with pytest.raises(PriceError):
            PARTED.entry_cost(-1, held)


def test_the_highest_ask_passes_and_one_more_or_less_than_nothing_does_not() -> None:
    """96 bits, as on the chain."""
    assert stage_price(stages((0, 1, MAX_ASK))[0], 1) == 3 * MAX_ASK
    assert stage_price(stages((0, 1, 0))[0], 1) == 0
    for ask in (MAX_ASK + 1, -1):
        with pytest.raises(PriceError, match="ask"):
            stage_price(stages((0, 1, ask))[0], 1)


@pytest.mark.parametrize(
    "offers", [[(0, 2, 1)], [(0, 2, 1), (3, 4, 1)], [(0, 3, 1), (2, 4, 1)], [(2, 4, 1), (0, 2, 1)], []]
)
def test_stages_that_do_not_cover_the_model_once_have_no_price(offers: list[tuple[int, int, int]]) -> None:
    """Gaps, overlaps, the wrong order, none at all."""
    with pytest.raises(PriceError, match="cover"):
        route_price(stages(*offers), 4)


def test_a_stage_past_the_end_of_the_model_has_no_price() -> None:
    """A SpanError, as everywhere else."""
    with pytest.raises(SpanError):
        route_price(stages((0, 5, 1)), 4)


PARTS = (40, 24, 16)
PARTED = RoutePrice(sum(PARTS), PARTS)
HELD = st.tuples(*[st.integers(0, 1000)] * 3)


def test_what_all_stages_have_is_free() -> None:
    """Of ten: where one has none, ten are paid for; where all have nine, one; where all have all, none."""
    assert PARTED.entry_cost(10, (10, 4, 0)) == 100
    assert PARTED.entry_cost(10, (9, 9, 9)) == 10
    assert PARTED.entry_cost(10, (10, 10, 10)) == 0


@given(st.integers(0, 1000), HELD)
def test_each_stages_weight_of_it_pays_for_the_rows_that_it_lacks(tokens: int, held: tuple[int, int, int]) -> None:
    """Whatever the others say they have: an accomplice that claims all of it takes nothing from anybody."""
    cost = PARTED.entry_cost(tokens, held)
    for price, have in zip(PARTS, held, strict=True):
        assert 8 * cost * price >= price * max(0, tokens - have) * PARTED.per_token


def test_a_part_of_an_eighth_is_rounded_up_once() -> None:
    """In the sum, not for each stage."""
    assert RoutePrice(3, (1, 1, 1)).entry_cost(3, (1, 1, 2)) == 1
    assert RoutePrice(3, (1, 1, 1)).entry_cost(3, (0, 0, 2)) == 2
    assert RoutePrice(3, (1, 1, 1)).entry_cost(9, (0, 9, 9)) == 4


@given(st.integers(0, 1000), HELD)
def test_what_is_held_never_costs_more_and_nothing_held_costs_the_whole(
    tokens: int, held: tuple[int, int, int]
) -> None:
    """Between nothing and the prefill price, and exact to less than a unit."""
    cost = PARTED.entry_cost(tokens, held)
    owed = PARTED.per_token * max(0, tokens - min(held))
    assert 0 <= 8 * cost - owed < 8
    assert cost <= PARTED.prefill_cost(tokens) == PARTED.entry_cost(tokens, (0, 0, 0)) == PARTED.entry_cost(tokens, ())


@given(st.integers(1, 300), st.integers(0, 400), HELD)
def test_a_sessions_cost_never_falls(prompt: int, positions: int, held: tuple[int, int, int]) -> None:
    """A voucher for more positions is never one for less money, also below what is held."""
    assert PARTED.session_cost(prompt, positions, held) <= PARTED.session_cost(prompt, positions + 1, held)


@given(st.integers(1, 300), st.integers(0, 300), HELD)
def test_decoding_costs_the_full_price_whatever_is_held(prompt: int, decoded: int, held: tuple[int, int, int]) -> None:
    """Only the prompt is cheaper."""
    whole = PARTED.session_cost(prompt, prompt + decoded, held)
    assert whole == PARTED.entry_cost(prompt, held) + decoded * PARTED.per_token


def test_positions_of_other_stages_than_the_routes_have_no_price() -> None:
    """One too few or too many is a mistake, not a discount."""
    for held in ((1, 1), (1, 1, 1, 1)):
        with pytest.raises(ValueError, match="held positions"):
            PARTED.entry_cost(10, held)


def test_a_routes_price_knows_its_parts() -> None:
    """In the stages' order, with their pseudo-blocks."""
    assert route_price(stages((0, 2, 10), (2, 4, 20), (4, 6, 30)), 6).per_stage == (30, 40, 90)


def test_the_pool_is_one_of_the_payees_that_a_channel_may_have() -> None:
    """So a route has one stage less than that at most, and one more is refused where it is priced, not where it is paid."""
    route = [StagePrice(NODES[i % 4], Span(i, i + 1), 5) for i in range(MAX_PAYEES - 1)]
    assert len(payee_words(route_payees(route, len(route), POOL))) == MAX_PAYEES
    route.append(StagePrice(NODES[0], Span(MAX_PAYEES - 1, MAX_PAYEES), 5))
    with pytest.raises(PayeesError, match="fewer stages"):
        route_payees(route, len(route), POOL)
