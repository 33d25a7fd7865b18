"""Nodes, their signed records and books of them, for the tests of both."""

from incentives.signing import LocalSigner
from node.directory import NodeRecord
from node.record_book import BookLimits, RecordBook, sign_record
from sharding.span import Span
from verification.addresses import Address, to_address
from verification.node_records import (
    ServedSpan,
    ServiceRecord,
    SignedServiceRecord,
)
from verification.typed_data import Domain

DOMAIN = Domain(31337, to_address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"))
MINIMUM = 100
NOW = 1_900_000_000
TOLERANCE = 30


def address(number: int) -> Address:
    """An address that sorts by its number."""
    return to_address(number.to_bytes(20, "big"))


def key(number: int) -> LocalSigner:
    """The hot signer of a node."""
    return LocalSigner((number + 1).to_bytes(32, "big"))


def on_chain(number: int, bonded: int = MINIMUM) -> NodeRecord:
    """What the chain says of a node."""
    return NodeRecord(
        node=address(number), signer=key(number).address, peer=number.to_bytes(32, "big"), bonded=bonded, exiting=0,
        manifest=b"m" * 32, span=Span(0, 4), ask=1, endpoint=f"wss://node{number}.test:1/v1/stream",
    )  # fmt: skip


def chain(*numbers: int, bonded: int = MINIMUM) -> dict[Address, NodeRecord]:
    """A chain that knows these nodes."""
    return {address(number): on_chain(number, bonded) for number in numbers}


def record(number: int, sequence: int = 1, issued: int = NOW, life: int = 30, queue: int = 0) -> ServiceRecord:
    """What a node says of itself."""
    return ServiceRecord(
        node=address(number), sequence=sequence, issued=issued, expires=issued + life, peer=number.to_bytes(32, "big"),
        endpoint=f"wss://node{number}.test:1/v1/stream", manifest=b"m" * 32, profile=b"p" * 32,
        spans=(ServedSpan(0, 4, 1, 1000),), queue=queue, free_pages=1, draining=False,
    )  # fmt: skip


def signed(number: int, sequence: int = 1, issued: int = NOW, life: int = 30, queue: int = 0) -> SignedServiceRecord:
    """The same under the node's signature."""
    return sign_record(record(number, sequence, issued, life, queue), key(number), DOMAIN)


def book_of(*numbers: int, limits: BookLimits | None = None) -> RecordBook:
    """An empty book on a chain that knows these nodes."""
    book = RecordBook(DOMAIN, MINIMUM, limits)
    book.anchor(chain(*numbers), NOW)
    return book


def nodes_in(book: RecordBook, now: float = NOW) -> list[Address]:
    """Whose records count."""
    return [each.node for each in book.live(now)]
