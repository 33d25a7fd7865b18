"""Rule 14: a prompt is paid before it is read, and decoding runs at most the window ahead of the money."""

import pytest

from incentives.prices import RoutePrice
from node.credit import SessionCredit

PRICE = 80
WINDOW = 4


def credit(
    paid: int, prompt: int = 8, earned_before: int = 0, paid_before: int = 0, window: int = WINDOW
) -> SessionCredit:
    """A session at its beginning, with a voucher of `paid` in all."""
    return SessionCredit(RoutePrice(PRICE), prompt, window, earned_before, paid_before, paid)


def test_cost_is_prefill_then_decode() -> None:
    """An eighth of the price per prompt token, rounded up in sum, then the full price per token."""
    session = credit(0)

    assert [session.cost_of(count) for count in (0, 1, 8, 9, 10)] == [0, 10, 80, 160, 240]
    assert SessionCredit(RoutePrice(3), 8, 1, 0, 0, 0).cost_of(1) == 1


def test_earned_follows_the_work() -> None:
    """Nothing is charged before it is computed."""
    session = credit(1000)
    assert session.earned == 0

    session.worked(8)
    session.worked(1)

    assert session.positions == 9
    assert session.earned == 160


@pytest.mark.parametrize(("paid", "allowed"), [(80, True), (79, False), (0, False)])
def test_prompt_is_prepaid_to_the_unit(paid: int, allowed: bool) -> None:
    """Exactly the prompt's cost is enough, one unit less is not: the window gives no credit for a prompt."""
    assert credit(paid).allows(8) is allowed


@pytest.mark.parametrize(("paid", "rows"), [(40, 4), (49, 4), (50, 5)])
def test_part_of_a_prompt_may_be_read_for_its_part_of_the_price(paid: int, rows: int) -> None:
    """A prompt in several frames is paid as it comes."""
    session = credit(paid)

    assert session.allows(rows)
    assert not session.allows(rows + 1)


def test_voucher_of_an_earlier_session_does_not_pay_a_prompt() -> None:
    """What was on disk when the session began has paid other work."""
    assert not credit(paid=500, paid_before=500).allows(1)
    assert not credit(paid=579, paid_before=500).allows(8)
    assert credit(paid=580, paid_before=500).allows(8)


@pytest.mark.parametrize("window", [1, 4, 64])
def test_decode_ends_at_the_window(window: int) -> None:
    """With only the prompt paid, exactly the window's tokens are worked, and not one more."""
    session = credit(paid=80, window=window)
    session.worked(8)

    for _ in range(window):
        assert session.allows(1)
        session.worked(1)

    assert not session.allows(1)


def test_voucher_opens_the_window_again() -> None:
    """One token's price more is one token more."""
    session = credit(paid=80)
    session.worked(8 + WINDOW)
    assert not session.allows(1)

    session.paid += PRICE - 1
    assert not session.allows(1)
    session.paid += 1
    assert session.allows(1)
    session.worked(1)
    assert not session.allows(1)


def test_paid_ahead_is_worked_without_credit() -> None:
    """Money beyond the prompt comes before the window."""
    session = credit(paid=80 + 3 * PRICE)
    session.worked(8)

    assert session.allows(3 + WINDOW)
    assert not session.allows(3 + WINDOW + 1)


@pytest.mark.parametrize(
    ("earned_before", "tokens"), [(1000, WINDOW), (1000 + PRICE, WINDOW - 1), (1000 - PRICE, WINDOW + 1)]
)
def test_credit_counts_the_channel_and_not_the_session(earned_before: int, tokens: int) -> None:
    """What earlier sessions left unpaid takes from the window; what they paid too much adds to it."""
    session = credit(paid=1080, paid_before=1000, earned_before=earned_before)
    session.worked(8)

    assert session.allows(tokens)
    assert not session.allows(tokens + 1)


def test_sessions_that_never_pay_have_one_window_together() -> None:
    """A client that leaves with the window's debt and comes back gets nothing but its prompts."""
    earned, paid, decoded = 0, 0, 0
    for _ in range(5):
        session = credit(paid=paid + 80, paid_before=paid, earned_before=earned)
        session.worked(8)
        while session.allows(1):
            session.worked(1)
            decoded += 1
        earned, paid = earned + session.earned, paid + 80

    assert decoded == WINDOW


def test_free_route_has_no_limit() -> None:
    """A price of zero owes nothing however long it runs."""
    session = SessionCredit(RoutePrice(0), 8, 1, 0, 0, 0)
    assert session.allows(8)
    session.worked(8)

    assert session.allows(10_000)


def test_amounts_past_64_bits_are_exact() -> None:
    """One unit short is short, also among the largest amounts."""
    price = 2**96 - 1
    session = SessionCredit(RoutePrice(price), 8, 1, 0, 0, price)
    assert session.allows(8)
    session.paid -= 1

    assert not session.allows(8)


class TestHeld:
    """What stages had of a prompt before the route began is not paid again."""

    PRICE = RoutePrice(80, (40, 24, 16))

    def credit(self, paid: int, held: tuple[int, ...], own: int) -> SessionCredit:
        """A prompt of 80 tokens on a stage that has `own` positions."""
        return SessionCredit(self.PRICE, 80, WINDOW, 0, 0, paid, positions=own, held=held)

    def test_a_replay_costs_what_the_prompt_did(self) -> None:
        """The middle stage is new and lacks 80 rows: its weight of their price is its own price for them."""
        assert self.credit(0, (79, 0, 79), 0).cost_of(80) == 800
        assert self.credit(0, (79, 60, 79), 60).cost_of(80) == 200
        assert self.credit(0, (79, 79, 79), 79).cost_of(80) == 10

    @pytest.mark.parametrize(("paid", "allowed"), [(800, True), (799, False)])
    def test_what_is_left_of_the_prompt_is_prepaid_to_the_unit(self, paid: int, allowed: bool) -> None:
        """Both on the stage that has everything but one row, and on the one that has nothing."""
        assert self.credit(paid, (79, 0, 79), 0).allows(80) is allowed
        assert self.credit(paid, (79, 0, 79), 79).allows(1) is allowed

    def test_decoding_after_it_costs_what_it_always_costs(self) -> None:
        """The full price per token, and one window of credit."""
        session = self.credit(800, (79, 0, 79), 79)
        session.worked(1)
        assert session.cost_of(81) == 800 + 80
        assert session.allows(WINDOW)
        assert not session.allows(WINDOW + 1)

    def test_nothing_is_earned_before_the_first_row(self) -> None:
        """What the others had to do is charged from the first own work on, and not before."""
        session = self.credit(1000, (79, 0, 79), 79)
        assert session.earned == 0
        session.worked(1)
        assert session.earned == 800


def test_nothing_is_worked_past_the_lock() -> None:
    """Paid or on credit: what the channel can never pay is not worked for. To the last unit it is."""
    session = credit(paid=10_000)
    session.worked(8)
    session.locked = 80 + 3 * PRICE
    assert session.allows(3)
    assert not session.allows(4)
    session.locked -= 1
    assert not session.allows(3)


def test_the_lock_counts_what_earlier_sessions_earned() -> None:
    """It is the channel's, not the session's."""
    session = credit(paid=1080, paid_before=1000, earned_before=1000)
    session.locked = 1080
    assert session.allows(8)
    session.locked = 1079
    assert not session.allows(8)
