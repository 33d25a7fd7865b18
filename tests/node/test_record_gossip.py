"""Two books exchange what the other lacks, and neither is led astray by what a hostile one sends."""

import random
from itertools import pairwise

import pytest

from node.record_book import MAX_FORGERIES, RecordBook
from node.record_messages import (
    Held,
    Records,
    Summary,
    decode_gossip,
    encode_gossip,
    encode_record,
)
from tests.node.records import (
    NOW,
    address,
    book_of,
    nodes_in,
    record,
    signed,
)
from verification.addresses import address_bytes
from verification.node_records import (
    SignedServiceRecord,
)


def exchange(left: RecordBook, right: RecordBook, now: float = NOW) -> int:
    """Both summaries and what each lacks, over the wire; returns how many records travelled."""
    travelled = 0
    for giver, taker in ((left, right), (right, left)):
        for page in taker.digest(now):
            summary = decode_gossip(encode_gossip(page))
            assert isinstance(summary, Summary)
            for message in giver.missing(summary, now):
                records = decode_gossip(encode_gossip(message))
                assert isinstance(records, Records)
                assert taker.merge(records, now).refused == 0
                travelled += len(records.records)
    return travelled


def test_two_books_end_alike_and_send_only_what_the_other_lacks() -> None:
    """One exchange each way; a second one sends nothing."""
    left, right = book_of(*range(9)), book_of(*range(9))
    for number in (1, 2, 3, 4):
        left.add(signed(number, sequence=number), NOW)
    for number, sequence in ((2, 1), (3, 3), (4, 9), (7, 1)):
        right.add(signed(number, sequence=sequence), NOW)

    assert exchange(left, right) == 4, "1 and 2 to the right, 4 and 7 to the left"
    assert left.live(NOW) == right.live(NOW)
    assert [each.sequence for each in left.live(NOW)] == [1, 2, 3, 9, 1]
    assert exchange(left, right) == 0


def test_any_graph_of_honest_books_spreads_every_record() -> None:
    """Twenty books on a ring with seeded order, each with one record: after enough rounds all hold all."""
    count, chance = 20, random.Random(4)
    books = [book_of(*range(count)) for _ in range(count)]
    for number, book in enumerate(books):
        book.add(signed(number), NOW)
    for _ in range(count // 2):
        for at in chance.sample(range(count), count):
            exchange(books[at], books[(at + 1) % count])

    assert all(nodes_in(book) == [address(number) for number in range(count)] for book in books)


def test_an_ended_record_is_neither_offered_nor_sent() -> None:
    """Ghosts do not travel."""
    book = book_of(1)
    book.add(signed(1), NOW)
    everything = book_of(1).digest(NOW)[0]

    assert [len(each.records) for each in book.missing(everything, NOW + 29)] == [1]
    assert book.missing(everything, NOW + 30) == ()
    assert book.digest(NOW + 30)[0].held == ()


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (3, 1), (4, 2), (7, 3)])
def test_pages_of_a_digest_divide_all_addresses(count: int, pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address lies in one page, so that what the sender lacks between two of its nodes is noticed."""
    monkeypatch.setattr("node.record_book.MAX_SUMMARY_NODES", 3)
    numbers = range(10, 10 + 2 * count, 2)
    book, richer = (book_of(*range(9, 12 + 2 * count)) for _ in range(2))
    for number in numbers:
        book.add(signed(number), NOW)
    for number in range(9, 12 + 2 * count):
        richer.add(signed(number), NOW)
    digest = book.digest(NOW)

    assert len(digest) == pages
    assert digest[0].first == bytes(20)
    assert digest[-1].last == b"\xff" * 20
    for before, after in pairwise(digest):
        assert int.from_bytes(after.first, "big") == int.from_bytes(before.last, "big") + 1
    exchange(book, richer)
    assert book.live(NOW) == richer.live(NOW)


def test_only_what_a_summary_speaks_of_is_sent() -> None:
    """Nodes outside its range may well be in another of its author's messages."""
    book = book_of(1, 2, 3)
    for number in (1, 2, 3):
        book.add(signed(number), NOW)
    second = address_bytes(address(2))

    assert book.missing(Summary(second, second, ()), NOW) == (Records((encode_record(signed(2)),)),)


def test_a_lying_summary_costs_only_its_author() -> None:
    """Who claims to hold everything gets nothing; the next peer gets all of it."""
    book = book_of(1, 2)
    book.add(signed(1), NOW)
    liar = Summary(bytes(20), b"\xff" * 20, (Held(address_bytes(address(1)), 2**64 - 1),))

    assert book.missing(liar, NOW) == ()
    assert exchange(book, book_of(1, 2)) == 1


def test_hostile_records_in_one_message_do_not_keep_out_the_honest_ones() -> None:
    """Unreadable, forged, unknown, old and contradicting ones are counted; what is right between them is taken."""
    book = book_of(1, 2, 3)
    book.add(signed(1, queue=1), NOW)
    forged = SignedServiceRecord(record(3, sequence=2**64 - 1), bytes(64))
    wrong = [encode_record(each) for each in (forged, signed(8), signed(2, issued=NOW - 500), signed(1, queue=2))]
    honest = [encode_record(signed(2)), encode_record(signed(3))]
    merged = book.merge(Records((b"\xc1", *wrong, *honest)), NOW)

    assert merged.accepted == (address(2), address(3))
    assert (merged.refused, merged.forged, merged.hostile) == (3, 2, False)
    assert nodes_in(book) == [address(1), address(2), address(3)]


def test_a_message_of_forgeries_is_read_to_the_limit_only() -> None:
    """One less than the limit is borne; at the limit reading stops, because each costs a signature's check."""
    forged = encode_record(SignedServiceRecord(record(1), bytes(64)))
    honest = encode_record(signed(2))
    borne = book_of(1, 2).merge(Records((*[forged] * (MAX_FORGERIES - 1), honest)), NOW)
    stopped = book_of(1, 2).merge(Records((*[forged] * MAX_FORGERIES, honest)), NOW)

    assert (borne.accepted, borne.hostile) == ((address(2),), False)
    assert (stopped.accepted, stopped.hostile) == ((), True)
