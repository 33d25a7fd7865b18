"""Shares are exact: 10,000 in all, nobody without any, nothing paid twice."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.errors import PayeesError
from incentives.payees import (
    MAX_PAYEES,
    WHOLE_BPS,
    Payee,
    parse_payees,
    payee_words,
    payees_for,
    payees_hash,
    share_of,
)
from sharding.hashing import keccak256
from verification.addresses import Address, to_address
from verification.errors import MalformedAddress

WEIGHTS = st.lists(st.integers(0, 2**104), min_size=1, max_size=MAX_PAYEES)


def node(index: int) -> Address:
    """Some address."""
    return to_address(index.to_bytes(20, "big"))


def payees_with(weights: list[int]) -> tuple[Payee, ...]:
    """One node per weight."""
    return payees_for([(node(index), weight) for index, weight in enumerate(weights)])


@given(WEIGHTS)
def test_shares_are_always_10000_and_nobody_has_none(weights: list[int]) -> None:
    """For any weights, zero and huge ones together."""
    shares = [payee.weight_bps for payee in payees_with(weights)]
    assert sum(shares) == WHOLE_BPS
    assert min(shares) >= 1


@given(WEIGHTS)
def test_payees_keep_the_order_of_the_stages(weights: list[int]) -> None:
    """Payee i is stage i."""
    assert [payee.node for payee in payees_with(weights)] == [node(index) for index in range(len(weights))]


@given(st.lists(st.integers(10**6, 10**9), min_size=1, max_size=9))
def test_a_share_is_within_one_of_the_exact_one(weights: list[int]) -> None:
    """The largest-remainder rule; no weight here is so small that its share had to be raised to 1."""
    for payee, weight in zip(payees_with(weights), weights, strict=True):
        assert abs(payee.weight_bps - Fraction(weight * WHOLE_BPS, sum(weights))) < 1


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=16))
def test_who_has_more_weight_never_gets_less(weights: list[int]) -> None:
    """Rounding does not turn an order around."""
    ranked = sorted(zip(weights, payees_with(weights), strict=True), key=lambda pair: (pair[0], pair[1].weight_bps))
    shares = [payee.weight_bps for _, payee in ranked]
    assert shares == sorted(shares)


@given(WEIGHTS, st.integers(0, 2**96 - 1))
def test_shares_never_exceed_the_pot_and_leave_less_than_one_unit_each(weights: list[int], pot: int) -> None:
    """What is rounded away is dust."""
    payees = payees_with(weights)
    paid = sum(payee.share_of(pot) for payee in payees)
    assert pot - len(payees) < paid <= pot


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ([1], [10_000]),
        ([0], [10_000]),
        ([1, 1, 1], [3_334, 3_333, 3_333]),
        ([0, 0], [5_000, 5_000]),
        ([0, 1], [1, 9_999]),
        ([1, 10**30, 0], [1, 9_998, 1]),
        ([10**9 + 1, 10**9, 0], [5_000, 4_999, 1]),
        ([1] * 256, [40] * 16 + [39] * 240),
    ],
)
def test_known_splits(weights: list[int], shares: list[int]) -> None:
    """Ties go to the earlier stage."""
    assert [payee.weight_bps for payee in payees_with(weights)] == shares


def test_256_payees_pass_and_neither_257_nor_none_do() -> None:
    """The contract walks over all of them."""
    assert len(payees_with([1] * 256)) == 256
    for count in (0, 257):
        with pytest.raises(PayeesError, match=str(count)):
            payees_with([1] * count)


def test_a_negative_weight_and_a_bad_address_are_refused() -> None:
    """Neither is silently taken for zero."""
    with pytest.raises(PayeesError, match="-1"):
        payees_with([1, -1])
    with pytest.raises(MalformedAddress):
        payees_for([("0x12", 1)])


def test_a_word_is_the_address_and_then_the_weight() -> None:
    """20 bytes and 12 bytes; the hash is that of the words in order."""
    one, other = Payee(node(1), 9_999), Payee(node(2), 1)
    assert one.word == bytes(19) + b"\1" + bytes(10) + (9_999).to_bytes(2, "big")
    assert payees_hash([one, other]) == keccak256(one.word + other.word)
    assert payees_hash([one, other]) != payees_hash([other, one])


@given(WEIGHTS)
def test_words_are_read_back(weights: list[int]) -> None:
    """A peer sends words, not payees."""
    payees = payees_with(weights)
    assert parse_payees(payee_words(payees)) == payees


@pytest.mark.parametrize(
    "weights", [[], [9_999], [10_001], [5_000, 5_001], [10_000, 0], [10_000, -1, 1], [1] * 257, [2**96 - 1, 10_001]]
)
def test_words_that_could_never_be_collected_are_refused(weights: list[int]) -> None:
    """Not 10,000 together, or with a payee who gets nothing."""
    with pytest.raises(PayeesError):
        payees_hash([Payee(node(index), weight) for index, weight in enumerate(weights)])
    if all(weight >= 0 for weight in weights):
        with pytest.raises(PayeesError):
            parse_payees([bytes(20) + weight.to_bytes(12, "big") for weight in weights])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_words_of_another_length_are_refused(length: int) -> None:
    """Before anything is read from them."""
    with pytest.raises(PayeesError, match="32"):
        parse_payees([bytes(length)])


def test_a_share_is_rounded_down() -> None:
    """As the contract does."""
    assert share_of(9_999, 1) == 0
    assert share_of(10_000, 1) == 1
    assert share_of(2**96 - 1, WHOLE_BPS) == 2**96 - 1
