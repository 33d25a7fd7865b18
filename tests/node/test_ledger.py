"""The ledger: a voucher on disk stays, never goes down, and is what can be settled."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from incentives.payees import payee_words, payees_for
from incentives.vouchers import check_voucher
from node.ledger import Ledger
from node.store import Store
from tests.node.money_fakes import DOMAIN, NODES, PAYEES, WORK, make_key, make_voucher, open_held

MAX_AMOUNT = 2**96 - 1
CHANNEL = make_key().id(DOMAIN)
WRITER = """
import sys
from pathlib import Path
from node.ledger import Ledger
from node.store import Store
from tests.node.money_fakes import make_voucher, open_held
ledger = Ledger(Store(Path(sys.argv[1])))
open_held(ledger)
for cumulative in range(1, 10**9):
    ledger.hold_voucher(make_voucher(cumulative))
    sys.stdout.write(f"{cumulative}\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    """A ledger with one channel and no voucher."""
    book = Ledger(store)
    open_held(book, stage=1)
    return book


def test_new_channel_has_nothing(ledger: Ledger) -> None:
    """No voucher, nothing earned, and its parties as they were given."""
    held = ledger.held(CHANNEL)

    assert (held.cumulative, held.earned, held.voucher) == (0, 0, None)
    assert (held.key, held.channel, held.stage) == (make_key(), CHANNEL, 1)
    assert held.payees == payee_words(PAYEES)


def test_known_channel_is_not_opened_anew(ledger: Ledger) -> None:
    """A second session on a channel finds what the first has left."""
    ledger.hold_voucher(make_voucher(70))
    ledger.raise_earned(CHANNEL, 60)

    again = open_held(ledger, stage=1)

    assert (again.cumulative, again.earned) == (70, 60)


def test_unknown_channel_is_named(ledger: Ledger) -> None:
    """Reading, charging and holding all refuse a channel that was never opened; nothing is written."""
    other = make_key(2)

    with pytest.raises(KeyError, match=other.id(DOMAIN).hex()):
        ledger.held(other.id(DOMAIN))
    with pytest.raises(KeyError):
        ledger.raise_earned(other.id(DOMAIN), 1)
    with pytest.raises(KeyError):
        ledger.hold_voucher(make_voucher(5, other))
    assert ledger.all_held() == []


def test_held_voucher_can_be_settled(ledger: Ledger, store: Store) -> None:
    """What is read back is the same signed voucher to the bit."""
    signed = make_voucher(123)
    ledger.hold_voucher(signed)

    [held] = Ledger(store).all_held()

    assert held.voucher == signed
    assert held.cumulative == 123
    check_voucher(held.voucher, DOMAIN, channel=CHANNEL, locked=123, previous=122, work=WORK)


def test_channel_without_voucher_is_not_held(ledger: Ledger) -> None:
    """There is nothing to settle on it."""
    assert ledger.all_held() == []


@pytest.mark.parametrize("cumulative", [99, 100])
def test_voucher_never_goes_down(ledger: Ledger, cumulative: int) -> None:
    """A lower one, or an equal one for other work, leaves the one on disk."""
    first = make_voucher(100)
    ledger.hold_voucher(first)

    ledger.hold_voucher(make_voucher(cumulative, work=b"\x01" * 32))

    assert ledger.held(CHANNEL).voucher == first


def test_higher_voucher_replaces(ledger: Ledger) -> None:
    """One more is enough, and only the highest is kept."""
    for cumulative in (1, 2, 100, 101):
        ledger.hold_voucher(make_voucher(cumulative))

    assert [held.voucher for held in ledger.all_held()] == [make_voucher(101)]


@pytest.mark.parametrize(
    ("lower", "higher"), [(9, 10), (2**63 - 1, 2**63), (2**64, 2**64 + 1), (MAX_AMOUNT - 1, MAX_AMOUNT)]
)
def test_amounts_are_compared_as_numbers(ledger: Ledger, lower: int, higher: int) -> None:
    """Past 64 bits SQLite has no integers; amounts are text there and still compared by value."""
    ledger.hold_voucher(make_voucher(lower))
    ledger.hold_voucher(make_voucher(higher))
    ledger.hold_voucher(make_voucher(lower))

    assert ledger.held(CHANNEL).cumulative == higher


def test_earned_only_rises(ledger: Ledger) -> None:
    """Exactly, past 64 bits, and without a say in what is paid; the same total again is the same work."""
    for total, earned in ((1, 1), (2**64, 2**64), (2**64, 2**64), (7, 2**64), (MAX_AMOUNT, MAX_AMOUNT)):
        ledger.raise_earned(CHANNEL, total)
        assert ledger.held(CHANNEL).earned == earned

    assert ledger.held(CHANNEL).cumulative == 0


def test_a_node_knows_all_of_its_shares(ledger: Ledger) -> None:
    """First and last stage of a route are one node, whichever of the two recorded the channel; the other has one share."""
    payees = payees_for([(NODES[place].address, weight) for place, weight in ((0, 5), (1, 3), (0, 5))])
    for salt, stage, indexes in ((2, 0, (0, 2)), (3, 2, (0, 2)), (4, 1, (1,))):
        assert open_held(ledger, stage, salt, payees).indexes == indexes


def unseen(ledger: Ledger, since: int, salt: int = 2) -> bytes:
    """A channel with a voucher that is not on the chain since a moment."""
    channel = open_held(ledger, salt=salt, unseen_since=since).channel
    ledger.hold_voucher(make_voucher(10, make_key(salt)))
    return channel


@pytest.mark.parametrize(("before", "kept"), [(100, 1), (101, 0)])
def test_what_was_never_seen_on_the_chain_can_be_forgotten(ledger: Ledger, before: int, kept: int) -> None:
    """Only what nobody used since the moment, and no channel that is known to be there."""
    channel = unseen(ledger, 100)
    assert ledger.unseen(before) == ([channel] if before > 100 else [])

    ledger.forget(channel, before)
    ledger.forget(CHANNEL, before)

    assert ledger.held(CHANNEL).earned == 0
    assert len(ledger.all_held()) == kept


def test_a_channel_that_was_seen_is_never_forgotten(ledger: Ledger) -> None:
    """Whether somebody looked, or its next session found it there; and trust given later takes nothing back."""
    looked, came = unseen(ledger, 100, salt=2), unseen(ledger, 100, salt=3)
    ledger.saw(looked)
    open_held(ledger, salt=3)
    open_held(ledger, salt=3, unseen_since=100)
    open_held(ledger, salt=2, unseen_since=100)

    for channel in (looked, came):
        ledger.forget(channel, 200)

    assert ledger.unseen(200) == []
    assert {held.channel for held in ledger.all_held()} == {looked, came}


def test_a_channel_that_is_used_again_is_as_old_as_its_last_use(ledger: Ledger) -> None:
    """A session that runs keeps what it holds."""
    channel = unseen(ledger, 100)
    open_held(ledger, salt=2, unseen_since=300)

    ledger.forget(channel, 300)

    assert ledger.unseen(300) == []
    assert [held.channel for held in ledger.all_held()] == [channel]


def test_channels_are_kept_apart(ledger: Ledger) -> None:
    """What comes in on one channel says nothing about another."""
    open_held(ledger, salt=2)
    ledger.hold_voucher(make_voucher(10, make_key(2)))
    ledger.raise_earned(CHANNEL, 7)

    first, second = ledger.held(CHANNEL), ledger.held(make_key(2).id(DOMAIN))

    assert (first.cumulative, first.earned) == (0, 7)
    assert (second.cumulative, second.earned) == (10, 0)


def test_voucher_on_disk_survives_kill(tmp_path: Path) -> None:
    """A process killed in the middle of its work has every voucher that it said it holds."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=-1, env=environment) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(5)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    acknowledged = max(int(line) for line in lines if line.endswith(b"\n"))

    store = Store(tmp_path)
    [held] = Ledger(store).all_held()
    store.close()

    assert held.cumulative in (acknowledged, acknowledged + 1)
    assert held.voucher == make_voucher(held.cumulative)
