"""The book of records: the newest word of every staked node, whatever others send, and no more than its limits."""

from dataclasses import replace

import pytest

from incentives.errors import InvalidSignature
from incentives.signing import GROUP_ORDER
from node.record_book import BookLimits, RecordBook, sign_record
from node.record_messages import (
    encode_record,
)
from node.routing_errors import RecordBookFull, RecordConflict, RecordOutOfTime, RecordUnanchored
from tests.node.records import (
    DOMAIN,
    MINIMUM,
    NOW,
    TOLERANCE,
    address,
    book_of,
    chain,
    key,
    nodes_in,
    on_chain,
    record,
    signed,
)
from verification.errors import MalformedRecord
from verification.node_records import (
    MAX_LIFE_SECONDS,
    SignedServiceRecord,
)
from verification.typed_data import Domain

# The newest word of each node


def test_the_highest_sequence_wins_in_any_order() -> None:
    """An older record is neither an error nor kept."""
    for order in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
        book = book_of(1)
        taken = [book.add(signed(1, sequence), NOW) for sequence in order]

        assert [each.sequence for each in book.live(NOW)] == [3]
        assert taken == [sequence == max(order[: at + 1]) for at, sequence in enumerate(order)]


def test_a_record_that_is_held_already_is_no_news() -> None:
    """So that two peers do not pass one record to and fro."""
    book = book_of(1)

    assert book.add(signed(1), NOW)
    assert not book.add(signed(1), NOW)


def test_of_two_records_of_one_sequence_the_first_is_kept() -> None:
    """The second one is refused by name, and the first goes on counting."""
    book = book_of(1)
    book.add(signed(1, queue=5), NOW)

    with pytest.raises(RecordConflict):
        book.add(signed(1, queue=6), NOW)

    assert book.live(NOW) == (record(1, queue=5),)


# Time


def test_a_record_counts_until_its_life_is_over() -> None:
    """Thirty seconds from its arrival, and not at the thirtieth."""
    book = book_of(1)
    book.add(signed(1, life=30), NOW)

    assert nodes_in(book, NOW + 29.9) == [address(1)]
    assert book.get(address(1), NOW + 29.9) == record(1)
    assert nodes_in(book, NOW + 30) == []
    assert book.get(address(1), NOW + 30) is None


def test_a_record_that_travelled_long_ends_by_its_own_clock() -> None:
    """Passing a record on does not make it younger: past its expiry it gets no more than the clocks' tolerance."""
    book = book_of(1)
    book.add(signed(1, life=30), NOW + 50)

    assert nodes_in(book, NOW + 59.9) == [address(1)]
    assert nodes_in(book, NOW + 60) == []


def test_clocks_may_differ_by_the_tolerance_and_no_more() -> None:
    """A record from half a minute ahead, or one that ended less than half a minute ago, is taken; then no longer."""
    assert book_of(1).add(signed(1, issued=NOW + TOLERANCE), NOW)
    assert book_of(1).add(signed(1, issued=NOW - 30 - TOLERANCE + 1), NOW)
    for issued in (NOW + TOLERANCE + 1, NOW - 30 - TOLERANCE):
        with pytest.raises(RecordOutOfTime, match="clock"):
            book_of(1).add(signed(1, issued=issued), NOW)


def test_a_life_at_the_limit_is_taken_and_a_longer_one_has_no_digest() -> None:
    """Two minutes; whoever wants more signs again."""
    assert book_of(1).add(signed(1, life=MAX_LIFE_SECONDS), NOW)
    longer = SignedServiceRecord(record(1, life=MAX_LIFE_SECONDS + 1), bytes(64))
    with pytest.raises(MalformedRecord):
        book_of(1).add(longer, NOW)


def test_an_older_record_does_not_come_back_when_the_newer_one_has_ended() -> None:
    """A node that shortens its life, say because it leaves, is not revived by whoever kept its older word."""
    book = book_of(1)
    book.add(signed(1, sequence=2, life=1), NOW)

    assert not book.add(signed(1, sequence=1, life=120), NOW + 10)
    assert nodes_in(book, NOW + 10) == []


def test_a_node_that_returns_with_a_lower_sequence_waits_until_no_older_record_can_live() -> None:
    """Two minutes and twice the tolerance."""
    book, later = book_of(1), NOW + MAX_LIFE_SECONDS + 2 * TOLERANCE
    book.add(signed(1, sequence=9), NOW)

    assert not book.add(signed(1, sequence=1, issued=later - 1), later - 1)
    assert book.add(signed(1, sequence=1, issued=later), later)


def test_what_is_over_is_forgotten_at_the_next_anchoring() -> None:
    """A book does not grow with nodes that came and went."""
    book = book_of(1, 2)
    book.add(signed(1), NOW)
    book.anchor(chain(1, 2), NOW + MAX_LIFE_SECONDS + 2 * TOLERANCE)

    assert (len(book), book.bytes_held) == (0, 0)


# The chain


def test_the_stake_decides_who_may_speak() -> None:
    """The minimum is enough, one coin less is not, and a stranger is unknown."""
    book = RecordBook(DOMAIN, MINIMUM)
    book.anchor(chain(1) | chain(2, bonded=MINIMUM - 1), NOW)

    assert book.add(signed(1), NOW)
    for number, reason in ((2, "at stake"), (3, "does not know")):
        with pytest.raises(RecordUnanchored, match=reason):
            book.add(signed(number), NOW)


def test_the_tls_key_is_the_chains() -> None:
    """A stolen hot key cannot lead clients to another node than the chain does."""
    other = sign_record(replace(record(1), peer=b"x" * 32), key(1), DOMAIN)

    with pytest.raises(RecordUnanchored, match="another TLS key"):
        book_of(1).add(other, NOW)


def test_a_node_may_be_elsewhere_than_the_chain_says() -> None:
    """Its own key says so; an announcement that names a third place does not take its word back."""
    book, elsewhere = book_of(1), "wss://elsewhere.test:1/v1/stream"
    assert book.add(sign_record(replace(record(1), endpoint=elsewhere), key(1), DOMAIN), NOW)
    book.anchor({address(1): replace(on_chain(1), endpoint="wss://third.test:1/v1/stream")}, NOW)

    kept = book.get(address(1), NOW)
    assert kept is not None
    assert kept.endpoint == elsewhere


def test_only_the_registered_signer_speaks_for_a_node() -> None:
    """Neither a stranger nor another node does, nor the signature of another domain or of nobody."""
    stranger = sign_record(record(1), key(2), DOMAIN)
    elsewhere = sign_record(record(1), key(1), Domain(1, DOMAIN.contract))
    high = GROUP_ORDER.to_bytes(32, "big") * 2
    for wrong in (stranger, elsewhere, SignedServiceRecord(record(1), bytes(64)), SignedServiceRecord(record(1), high)):
        book = book_of(1, 2)
        with pytest.raises(InvalidSignature):
            book.add(wrong, NOW)
        assert book.add(signed(1), NOW), "a forgery must not stand in the way of the real one"


@pytest.mark.parametrize(
    "change",
    [
        {"bonded": MINIMUM - 1},
        {"signer": key(9).address},
        {"peer": b"x" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_record_goes_when_the_chain_no_longer_bears_it_out(change: dict[str, object]) -> None:
    """Slashed, or with a new key of either kind: what was said before is void, and the new word may start at any sequence."""
    book = book_of(1, 2)
    book.add(signed(1, sequence=2**64 - 1), NOW)
    book.add(signed(2), NOW)
    book.anchor(chain(2) | {address(1): replace(on_chain(1), **change)}, NOW)  # type: ignore[arg-type]

    assert nodes_in(book) == [address(2)]


def test_a_record_goes_with_its_node() -> None:
    """A node that left the chain has no word."""
    book = book_of(1)
    book.add(signed(1), NOW)
    book.anchor({}, NOW)

    assert (len(book), book.bytes_held) == (0, 0)


# Bounds


def test_a_full_book_prefers_the_larger_stake() -> None:
    """Crowding out costs more stake than the crowded-out have; as much is not enough."""
    book = RecordBook(DOMAIN, MINIMUM, BookLimits(nodes=2))
    book.anchor(chain(1, 2, 3) | chain(4, bonded=MINIMUM + 1), NOW)
    book.add(signed(1), NOW)
    book.add(signed(2), NOW)

    with pytest.raises(RecordBookFull):
        book.add(signed(3), NOW)
    assert nodes_in(book) == [address(1), address(2)]
    assert book.add(signed(4), NOW)
    assert nodes_in(book) == [address(2), address(4)]


def test_a_full_book_still_takes_news_of_whom_it_knows() -> None:
    """A node's newer record needs no new place."""
    book = book_of(1, 2, limits=BookLimits(nodes=2))
    for sequence in (1, 2):
        assert book.add(signed(1, sequence), NOW)
        assert book.add(signed(2, sequence), NOW)

    assert [each.sequence for each in book.live(NOW)] == [2, 2]


def test_in_a_full_book_the_dead_make_room_first() -> None:
    """Whatever stake they had."""
    book = RecordBook(DOMAIN, MINIMUM, BookLimits(nodes=2))
    book.anchor(chain(1, 2) | chain(3, bonded=10 * MINIMUM), NOW)
    book.add(signed(3, life=5), NOW)
    book.add(signed(1), NOW)

    assert book.add(signed(2), NOW + 10)
    assert nodes_in(book, NOW + 10) == [address(1), address(2)]


def test_a_newer_record_takes_the_room_of_its_older_one() -> None:
    """Where not one byte is left for another node."""
    book = book_of(1, limits=BookLimits(bytes=len(encode_record(signed(1)))))

    assert book.add(signed(1, sequence=1), NOW)
    assert book.add(signed(1, sequence=2), NOW)


def test_bytes_are_bounded_at_the_limit() -> None:
    """Two records fit into exactly their size and not into one byte less; a refusal changes nothing."""
    size = len(encode_record(signed(1))) + len(encode_record(signed(2)))
    enough, short = (book_of(1, 2, limits=BookLimits(bytes=limit)) for limit in (size, size - 1))
    for book in (enough, short):
        book.add(signed(1), NOW)

    assert enough.add(signed(2), NOW)
    assert enough.bytes_held == size
    with pytest.raises(RecordBookFull):
        short.add(signed(2), NOW)
    assert nodes_in(short) == [address(1)]
    assert short.bytes_held == len(encode_record(signed(1)))
