"""What a client has promised for each of its sessions, kept for the case that a node of it is convicted later."""

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from node.store import Store

if TYPE_CHECKING:
    from verification.routes import Route  # which brings torch; whoever only lists channels needs none


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The last promise of one session. Amounts in the smallest unit.

    cumulative: of the whole channel; amount: of it for this session, which paid for its first `positions` positions.
    """

    digest: bytes
    route: "Route"
    channel: bytes
    cumulative: int
    amount: int
    positions: int


def keep_session(db: sqlite3.Connection, record: SessionRecord) -> None:
    """Write the newest promise of a session in a transaction of the caller's; it replaces the one before."""
    from node.route_messages import route_message

    route = msgspec.msgpack.encode(route_message(record.route))
    db.execute(
        "INSERT INTO paid_sessions (digest, channel, route, cumulative, amount, positions) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET cumulative = excluded.cumulative, amount = excluded.amount,"
        " positions = excluded.positions",
        (record.digest, record.channel, route, str(record.cumulative), str(record.amount), record.positions),
    )


def read_sessions(store: Store, channel: bytes) -> list[SessionRecord]:
    """All sessions of a channel, the oldest first. Raises: StoreError."""
    from node.messages import RouteMessage
    from node.route_messages import route_of

    rows = store.rows("SELECT * FROM paid_sessions WHERE channel = ? ORDER BY rowid", channel)
    return [
        SessionRecord(
            row["digest"], route_of(msgspec.msgpack.decode(row["route"], type=RouteMessage)), row["channel"],
            int(row["cumulative"]), int(row["amount"]), row["positions"],
        )
        for row in rows
    ]  # fmt: skip
