"""The client's side of its channels: what is locked, what is promised. A promise is on disk before its signature leaves."""

import secrets
import sqlite3
from dataclasses import dataclass

from incentives.payees import Payee, payee_words, payees_hash
from incentives.signing import Signer
from incentives.vouchers import ChannelKey, SignedVoucher, sign_voucher
from node.session_book import SessionRecord, keep_session, read_sessions
from node.store import Store
from sharding.hashing import keccak256
from verification.addresses import Address
from verification.typed_data import Domain


@dataclass(frozen=True, slots=True)
class OpenedChannel:
    """One channel of this client. Amounts in the smallest unit."""

    key: ChannelKey
    channel: bytes
    payees: tuple[bytes, ...]
    locked: int
    cumulative: int
    owing: int
    """The most that stages can have worked for and were not promised: by a route that was lost in the middle of a token."""
    state: str
    """planned (not known to be on chain), open, busy (a session runs, or ended badly), closing, reclaimed."""

    @property
    def left(self) -> int:
        """Locked and not promised to anybody, nor owed."""
        return self.locked - self.cumulative - self.owing


class ChannelBook:
    """All channels that this client opened, in its store."""

    def __init__(self, store: Store, domain: Domain) -> None:
        self._store = store
        self._domain = domain

    def plan(self, payer: Address, signer: Address, payees: tuple[Payee, ...]) -> OpenedChannel:
        """Record a new channel before any transaction for it is sent."""
        key = ChannelKey(payer, signer, payees_hash(payees), secrets.token_bytes(32))
        channel = key.id(self._domain)
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO opened_channels (channel, payer, signer, payees, salt, locked, cumulative, state)"
                " VALUES (?, ?, ?, ?, ?, '0', '0', 'planned')",
                (channel, payer, signer, b"".join(payee_words(payees)), key.salt),
            )
        return self.get(channel)

    def get(self, channel: bytes) -> OpenedChannel:
        """Return one channel. Raises: KeyError."""
        rows = self._store.rows("SELECT * FROM opened_channels WHERE channel = ?", channel)
        if not rows:
            raise KeyError(channel.hex())
        return _opened(rows[0])

    def all(self) -> list[OpenedChannel]:
        """Return every channel, the oldest first."""
        return [_opened(row) for row in self._store.rows("SELECT * FROM opened_channels ORDER BY rowid")]

    def idle(self, payees: tuple[Payee, ...], signer: Address) -> OpenedChannel | None:
        """Find an open channel to the same payees on which no session runs."""
        words = payee_words(payees)
        matches = [each for each in self.all() if each.payees == words and each.state == "open"]
        return next((each for each in matches if each.key.signer == signer), None)

    def set_locked(self, channel: bytes, locked: int) -> None:
        """Record what the chain says is locked."""
        self._update("UPDATE opened_channels SET locked = ? WHERE channel = ?", str(locked), channel)

    def set_owing(self, channel: bytes, owing: int) -> None:
        """Record what stages may say is due before the next session pays it."""
        self._update("UPDATE opened_channels SET owing = ? WHERE channel = ?", str(owing), channel)

    def set_state(self, channel: bytes, state: str) -> None:
        """Record where a channel is in its life."""
        self._update("UPDATE opened_channels SET state = ? WHERE channel = ?", state, channel)

    def sign(
        self, signer: Signer, channel: bytes, cumulative: int, work: bytes, session: SessionRecord | None = None
    ) -> SignedVoucher:
        """Promise `cumulative` in all. Written first, then signed; never less than before, never more than locked.

        session: what the promise is for, kept with it to have it refunded should a node be convicted.
        Raises: ValueError: those two would be faults of this program, not of a peer.
        """
        opened = self.get(channel)
        if not opened.cumulative <= cumulative <= opened.locked:
            raise ValueError(f"a promise of {cumulative} is outside {opened.cumulative} to {opened.locked}")
        with self._store.transaction() as db:
            db.execute("UPDATE opened_channels SET cumulative = ? WHERE channel = ?", (str(cumulative), channel))
            if session is not None:
                keep_session(db, session)
        return sign_voucher(signer, self._domain, opened.key, cumulative, work)

    def sessions(self, channel: bytes) -> list[SessionRecord]:
        """What was promised for each session of a channel, the oldest first."""
        return read_sessions(self._store, channel)

    def _update(self, statement: str, *values: object) -> None:
        with self._store.transaction() as db:
            db.execute(statement, values)


def _opened(row: sqlite3.Row) -> OpenedChannel:
    words: bytes = row["payees"]
    payees = tuple(words[at : at + 32] for at in range(0, len(words), 32))
    key = ChannelKey(Address(row["payer"]), Address(row["signer"]), keccak256(words), row["salt"])
    locked, cumulative, owing = (int(row[name]) for name in ("locked", "cumulative", "owing"))
    return OpenedChannel(key, row["channel"], payees, locked, cumulative, owing, row["state"])
