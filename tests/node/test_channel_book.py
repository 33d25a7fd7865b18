"""The client's channels: a promise is on disk before its signature exists, within what is locked, and never less than before."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from incentives.payees import payee_words, payees_for, payees_hash
from incentives.vouchers import check_voucher
from node.channel_book import ChannelBook, OpenedChannel
from node.errors import StoreError
from node.store import Store
from tests.node.money_fakes import CLIENT, DOMAIN, NODES, PAYEES, WORK
from verification.addresses import Address


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def book(store: Store) -> ChannelBook:
    """An empty book."""
    return ChannelBook(store, DOMAIN)


def opened(book: ChannelBook, locked: int = 100) -> OpenedChannel:
    """A channel with money in it."""
    channel = book.plan(CLIENT.address, CLIENT.address, PAYEES).channel
    book.set_locked(channel, locked)
    book.set_state(channel, "open")
    return book.get(channel)


class WatchingSigner:
    """Signs, or fails to, and notes what the book had on disk at that moment."""

    def __init__(self, book: ChannelBook, channel: bytes, error: BaseException | None = None) -> None:
        self._book, self._channel, self._error = book, channel, error
        self.on_disk: list[int] = []

    @property
    def address(self) -> Address:
        """The client's."""
        return CLIENT.address

    def sign_digest(self, digest: bytes) -> bytes:
        """As a signer."""
        self.on_disk.append(self._book.get(self._channel).cumulative)
        if self._error is not None:
            raise self._error
        return CLIENT.sign_digest(digest)

    def sign_transaction(self, transaction: Mapping[str, Any]) -> bytes:
        """Not asked for."""
        raise NotImplementedError


def test_planned_channel_is_on_disk_with_nothing_in_it(book: ChannelBook, store: Store) -> None:
    """It is recorded before a transaction for it can be sent, under the id that the contract will compute."""
    planned = book.plan(CLIENT.address, CLIENT.address, PAYEES)

    assert ChannelBook(store, DOMAIN).all() == [planned]
    assert (planned.locked, planned.cumulative, planned.left, planned.state) == (0, 0, 0, "planned")
    assert planned.key.id(DOMAIN) == planned.channel
    assert planned.key.payees == payees_hash(PAYEES)
    assert planned.payees == payee_words(PAYEES)


def test_channels_to_the_same_payees_differ(book: ChannelBook) -> None:
    """Each has a salt of its own; the oldest comes first."""
    first, second = (book.plan(CLIENT.address, CLIENT.address, PAYEES) for _ in range(2))

    assert first.channel != second.channel
    assert book.all() == [first, second]


def test_unknown_channel_is_named(book: ChannelBook) -> None:
    """Neither read nor promised on."""
    with pytest.raises(KeyError, match="ab" * 32):
        book.get(b"\xab" * 32)
    with pytest.raises(KeyError):
        book.sign(CLIENT, b"\xab" * 32, 0, WORK)


def test_promise_is_a_good_voucher(book: ChannelBook) -> None:
    """A stage accepts it, and the book knows what is left."""
    channel = opened(book)

    signed = book.sign(CLIENT, channel.channel, 40, WORK)

    check_voucher(signed, DOMAIN, channel=channel.channel, locked=100, previous=39, work=WORK)
    assert book.get(channel.channel).cumulative == 40
    assert book.get(channel.channel).left == 60


def test_promise_is_on_disk_before_it_is_signed(book: ChannelBook) -> None:
    """At the moment of signing the record already says so."""
    channel = opened(book).channel
    signer = WatchingSigner(book, channel)

    for cumulative in (10, 25, 100):
        book.sign(signer, channel, cumulative, WORK)

    assert signer.on_disk == [10, 25, 100]


@pytest.mark.parametrize("error", [OSError("the key is gone"), KeyboardInterrupt()])
def test_signing_that_fails_leaves_the_higher_amount(book: ChannelBook, error: BaseException) -> None:
    """Whether the signature got out is then unknown; the book takes it for given and never promises less."""
    channel = opened(book).channel
    book.sign(CLIENT, channel, 10, WORK)

    with pytest.raises(type(error)):
        book.sign(WatchingSigner(book, channel, error), channel, 30, WORK)

    assert book.get(channel).cumulative == 30
    with pytest.raises(ValueError, match="29"):
        book.sign(CLIENT, channel, 29, WORK)


def test_record_that_cannot_be_written_is_never_signed(book: ChannelBook, store: Store) -> None:
    """No disk, no signature."""
    channel = opened(book).channel
    signer = WatchingSigner(book, channel)
    with store.transaction() as db:
        db.execute("CREATE TRIGGER full BEFORE UPDATE ON opened_channels BEGIN SELECT RAISE(ABORT, 'disk full'); END")

    with pytest.raises(StoreError, match="disk full"):
        book.sign(signer, channel, 10, WORK)

    assert signer.on_disk == []
    assert book.get(channel).cumulative == 0


@pytest.mark.parametrize("cumulative", [-1, 0, 39, 101, 2**96])
def test_promise_outside_is_refused(book: ChannelBook, cumulative: int) -> None:
    """Less than before or more than locked: nothing is written and nothing signed."""
    channel = opened(book).channel
    book.sign(CLIENT, channel, 40, WORK)
    signer = WatchingSigner(book, channel)

    with pytest.raises(ValueError, match="outside 40 to 100"):
        book.sign(signer, channel, cumulative, WORK)

    assert signer.on_disk == []
    assert book.get(channel).cumulative == 40


@pytest.mark.parametrize("cumulative", [40, 41, 100])
def test_promise_at_the_limits_is_given(book: ChannelBook, cumulative: int) -> None:
    """As much as before, and all that is locked."""
    channel = opened(book).channel
    book.sign(CLIENT, channel, 40, WORK)

    assert book.sign(CLIENT, channel, cumulative, WORK).voucher.cumulative == cumulative


def test_amounts_past_64_bits_survive(book: ChannelBook, store: Store) -> None:
    """The contract's largest amount is kept exactly."""
    channel = opened(book, locked=2**96 - 1).channel
    book.sign(CLIENT, channel, 2**96 - 2, WORK)

    again = ChannelBook(store, DOMAIN).get(channel)

    assert (again.locked, again.cumulative, again.left) == (2**96 - 1, 2**96 - 2, 1)


@pytest.mark.parametrize("state", ["planned", "busy", "closing", "reclaimed"])
def test_only_an_open_channel_is_idle(book: ChannelBook, state: str) -> None:
    """A channel in any other state is not taken for a new session."""
    channel = opened(book)
    assert book.idle(PAYEES, CLIENT.address) == channel

    book.set_state(channel.channel, state)

    assert book.get(channel.channel).state == state
    assert book.idle(PAYEES, CLIENT.address) is None


def test_unknown_state_is_refused(book: ChannelBook) -> None:
    """A typing mistake does not make a channel vanish from every list."""
    channel = opened(book).channel

    with pytest.raises(StoreError):
        book.set_state(channel, "opened")

    assert book.get(channel).state == "open"


def test_idle_channel_has_the_same_payees_and_signer(book: ChannelBook) -> None:
    """Other shares are other payees."""
    opened(book)
    weights = [(node.address, 1) for node in NODES]

    assert book.idle(payees_for(weights), CLIENT.address) is None
    assert book.idle(PAYEES, NODES[0].address) is None


def test_oldest_idle_channel_is_taken(book: ChannelBook) -> None:
    """So that old ones are used up."""
    first, _ = opened(book), opened(book)

    assert book.idle(PAYEES, CLIENT.address) == first
