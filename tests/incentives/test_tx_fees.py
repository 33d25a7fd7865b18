"""Prices stay under their caps, and a replacement is dear enough to be taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.client_errors import FeeTooHigh
from incentives.tx_fees import FeePolicy, Market, bumped, first_fees
from incentives.tx_states import Fees

POLICY = FeePolicy(max_fee_cap=1_000, max_tip_cap=100)
PRICES = st.integers(0, 3_000)


def test_the_first_price_leaves_room_for_the_base_fee_to_double() -> None:
    """As far as the cap allows."""
    assert first_fees(Market(100, 10), POLICY) == Fees(210, 10)
    assert first_fees(Market(495, 10), POLICY) == Fees(1_000, 10)
    assert first_fees(Market(496, 10), POLICY) == Fees(1_000, 10)


def test_the_cap_is_where_it_says() -> None:
    """1,000 is paid, 1,001 is not; a tip over its cap is cut."""
    assert first_fees(Market(990, 10), POLICY) == Fees(1_000, 10)
    with pytest.raises(FeeTooHigh) as caught:
        first_fees(Market(991, 10), POLICY)
    assert (caught.value.asked, caught.value.cap) == (1_001, 1_000)
    assert first_fees(Market(1, 101), POLICY).tip == 100


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Fees(800, 8), Fees(900, 9)),
        (Fees(888, 8), Fees(999, 9)),
        (Fees(889, 8), None),
        (Fees(100, 88), Fees(113, 99)),
        (Fees(100, 89), None),
        (Fees(1, 0), Fees(2, 1)),
    ],
)
def test_a_replacement_rises_by_an_eighth_rounded_up_and_stops_at_the_caps(before: Fees, after: Fees | None) -> None:
    """1,000.125 is over a cap of 1,000, and 100.125 over one of 100."""
    assert bumped(before, Market(0, 0), POLICY) == after


def test_a_replacement_follows_the_market_upwards() -> None:
    """It is not raised by an eighth eight times while the price has doubled."""
    assert bumped(Fees(210, 10), Market(300, 20), POLICY) == Fees(620, 20)
    assert bumped(Fees(210, 10), Market(600, 20), POLICY) == Fees(1_000, 20)


@given(PRICES, PRICES, PRICES, PRICES)
def test_no_price_is_over_a_cap_nor_too_low_to_replace(max_fee: int, tip: int, base: int, market_tip: int) -> None:
    """Whatever the market says."""
    before = Fees(max(max_fee, tip), tip)
    after = bumped(before, Market(base, market_tip), POLICY)
    if after is not None:
        assert after.tip <= after.max_fee <= POLICY.max_fee_cap
        assert after.tip <= POLICY.max_tip_cap
        assert after.max_fee * 1000 >= before.max_fee * 1125
        assert after.tip * 1000 >= before.tip * 1125
        assert after.max_fee > before.max_fee
        assert after.tip > before.tip
