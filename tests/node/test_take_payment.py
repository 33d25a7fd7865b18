"""Rule 14: what the old route of a session delivered is paid before the new one begins."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from incentives.errors import BeyondLock, InvalidSignature
from node.admission import Admitted
from node.credit import SessionCredit
from node.kept import Account, Kept
from node.ledger import Ledger
from node.messages import VoucherMessage
from node.refusals import FailureCode, Refused
from node.session_money import check_paid, take_payment
from node.store import Store
from tests.node.admitted import PRICE, WINDOW, make_admitted, make_kept, promise
from tests.node.money_fakes import DOMAIN

PROMPT = 100
PREFILL = PRICE.prefill_cost(PROMPT)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    store = Store(tmp_path)
    yield Ledger(store)
    store.close()


def credit_of(paid: int, positions: int = 110, earned_before: int = 0) -> SessionCredit:
    made = SessionCredit(PRICE, PROMPT, WINDOW, earned_before, 0, paid)
    made.worked(positions)
    return made


@pytest.mark.parametrize("earned_before", [0, 500])
def test_delivered_positions_are_paid_to_the_unit(earned_before: int) -> None:
    """Ten tokens after the prompt, and what the channel owed before it."""
    owed = earned_before + PREFILL + 10 * 80
    check_paid(credit_of(owed, earned_before=earned_before), needed=500)
    with pytest.raises(Refused) as caught:
        check_paid(credit_of(owed - 1, earned_before=earned_before), needed=500)
    assert caught.value.code is FailureCode.UNPAID
    assert "1 unpaid" in caught.value.message


def test_what_never_came_to_the_client_is_not_asked_for() -> None:
    """A stage that ran ahead of the token that was lost is paid up to what the client has."""
    check_paid(credit_of(PREFILL + 8 * 80), needed=108)
    with pytest.raises(Refused):
        check_paid(credit_of(PREFILL + 8 * 80), needed=109)


def test_a_route_that_did_nothing_is_owed_nothing() -> None:
    """Its cache was there before."""
    check_paid(SessionCredit(PRICE, PROMPT, WINDOW, 0, 0, 0, positions=99), needed=500)


def kept_of(ledger: Ledger, terms: Admitted, credit: SessionCredit) -> Kept:
    ledger.open_channel(terms.route.channel, terms.key, terms.payees, terms.stage)
    return make_kept(terms, account=Account(terms, credit))


async def test_the_last_promise_comes_with_the_new_route(ledger: Ledger) -> None:
    """The one of that very route among several; it is on disk and counts."""
    terms, credit = make_admitted(), credit_of(PREFILL)
    other = make_admitted(replace(terms.route, epoch=7))
    kept = kept_of(ledger, terms, credit)
    own = promise(PREFILL + 800, positions=110)
    opening = cast("Any", SimpleNamespace(prompt_tokens=111, paid=(promise(10**6, 110, other), own)))
    await take_payment(kept, opening, DOMAIN, ledger)
    assert credit.paid == PREFILL + 800
    assert ledger.held(terms.route.channel).cumulative == PREFILL + 800


@pytest.mark.parametrize("short", [0, 1])
async def test_a_promise_that_is_too_small_is_kept_and_not_enough(ledger: Ledger, short: int) -> None:
    """One unit less than what was delivered: no new route, but what was promised is not thrown away."""
    credit = credit_of(PREFILL)
    kept = kept_of(ledger, make_admitted(), credit)
    amount = PREFILL + 800 - short
    opening = cast("Any", SimpleNamespace(prompt_tokens=111, paid=(promise(amount, 110),)))
    if short:
        with pytest.raises(Refused, match="1 unpaid"):
            await take_payment(kept, opening, DOMAIN, ledger)
    else:
        await take_payment(kept, opening, DOMAIN, ledger)
    assert ledger.held(make_admitted().route.channel).cumulative == amount


async def test_a_last_promise_is_checked_like_any_other(ledger: Ledger) -> None:
    """Past the lock, or signed by nobody."""
    credit = credit_of(PREFILL)
    credit.locked = PREFILL + 800
    kept = kept_of(ledger, make_admitted(), credit)
    beyond, good = promise(PREFILL + 801, 110), promise(PREFILL + 800, 110)
    forged = VoucherMessage(good.cumulative, good.work, good.positions, bytes(64))
    for bad, error in ((beyond, BeyondLock), (forged, InvalidSignature)):
        with pytest.raises(error):
            await take_payment(kept, cast("Any", SimpleNamespace(prompt_tokens=111, paid=(bad,))), DOMAIN, ledger)
    assert credit.paid == PREFILL
