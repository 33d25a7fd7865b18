"""What a node is owed: per channel the last voucher it holds and what its work on that channel has earned.

A voucher is on disk before the work it pays for is done; a node that is killed can always settle what it holds.
"""

import sqlite3
from dataclasses import dataclass

from incentives.vouchers import ChannelKey, SignedVoucher, Voucher
from node.store import Store, StoreReader
from sharding.hashing import keccak256
from verification.addresses import Address

PAYEE_WORD_BYTES = 32
ADDRESS_BYTES = 20
"""The high ones of a payee's word."""


@dataclass(frozen=True, slots=True)
class HeldChannel:
    """One channel as this node knows it. Amounts in the token's smallest unit, for the whole route."""

    key: ChannelKey
    channel: bytes
    payees: tuple[bytes, ...]
    stage: int
    """This node's index among the payees, or one of them."""
    cumulative: int
    """Paid by the voucher on disk."""
    earned: int
    """Charged for work of finished routes, paid or not."""
    voucher: SignedVoucher | None
    is_unseen: bool = False
    """Whether the channel was trusted before it was on the chain, and nobody has seen it there since."""

    @property
    def indexes(self) -> tuple[int, ...]:
        """All payees that are this node: it may be several stages of a route."""
        address = self.payees[self.stage][:ADDRESS_BYTES]
        return tuple(index for index, word in enumerate(self.payees) if word[:ADDRESS_BYTES] == address)


class Ledger:
    """The node's side of its channels."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open_channel(
        self, channel: bytes, key: ChannelKey, payees: tuple[bytes, ...], stage: int, unseen_since: int | None = None
    ) -> HeldChannel:
        """Return what is known of a channel, recording it first when it is new.

        unseen_since: a moment in seconds, where the channel is not on the chain yet; None where it was seen there.
        """
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO held_vouchers (channel, payer, signer, payees, salt, stage, cumulative, earned, unseen_since)"
                " VALUES (?, ?, ?, ?, ?, ?, '0', '0', ?) ON CONFLICT (channel) DO UPDATE"
                " SET unseen_since = excluded.unseen_since WHERE unseen_since IS NOT NULL",
                (channel, key.payer, key.signer, b"".join(payees), key.salt, stage, unseen_since),
            )
        return self.held(channel)

    def saw(self, channel: bytes) -> None:
        """The chain knows the channel: it is never forgotten."""
        with self._store.transaction() as db:
            db.execute("UPDATE held_vouchers SET unseen_since = NULL WHERE channel = ?", (channel,))

    def unseen(self, before: int) -> list[bytes]:
        """Channels that nobody has used since `before`, and that were not on the chain then nor seen there later."""
        rows = self._store.rows("SELECT channel FROM held_vouchers WHERE unseen_since < ?", before)
        return [row["channel"] for row in rows]

    def forget(self, channel: bytes, before: int) -> None:
        """Drop what is known of such a channel; any other stays."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM held_vouchers WHERE channel = ? AND unseen_since < ?", (channel, before))

    def held(self, channel: bytes) -> HeldChannel:
        """Return one recorded channel. Raises: KeyError."""
        rows = self._store.rows("SELECT * FROM held_vouchers WHERE channel = ?", channel)
        if not rows:
            raise KeyError(channel.hex())
        return _held(rows[0])

    def all_held(self) -> list[HeldChannel]:
        """Return every channel with a voucher on disk."""
        return all_held(self._store)

    def hold_voucher(self, signed: SignedVoucher) -> None:
        """Write a checked voucher to disk; it replaces the one before. Only a higher one is ever written.

        Raises: KeyError for a channel that was not opened here: nothing was written.
        """
        voucher = signed.voucher
        with self._store.transaction() as db:
            if voucher.cumulative > _amount(db, "cumulative", voucher.channel):
                db.execute(
                    "UPDATE held_vouchers SET cumulative = ?, work = ?, signature = ? WHERE channel = ?",
                    (str(voucher.cumulative), voucher.work, signed.signature, voucher.channel),
                )

    def raise_earned(self, channel: bytes, total: int) -> None:
        """Charge work to a channel, as what was earned on it in all; a lower total changes nothing. Raises: KeyError.

        So the stages of one route on this node, which are paid by the same promises, are not counted twice.
        """
        with self._store.transaction() as db:
            if total > _amount(db, "earned", channel):
                db.execute("UPDATE held_vouchers SET earned = ? WHERE channel = ?", (str(total), channel))


def all_held(store: Store | StoreReader) -> list[HeldChannel]:
    """Every channel with a voucher on a node's disk, whether the node runs or not."""
    return [_held(row) for row in store.rows("SELECT * FROM held_vouchers WHERE signature IS NOT NULL")]


def _amount(db: sqlite3.Connection, column: str, channel: bytes) -> int:
    row = db.execute("SELECT cumulative, earned FROM held_vouchers WHERE channel = ?", (channel,)).fetchone()
    if row is None:
        raise KeyError(channel.hex())
    return int(row[column])


def _held(row: sqlite3.Row) -> HeldChannel:
    words: bytes = row["payees"]
    payees = tuple(words[at : at + PAYEE_WORD_BYTES] for at in range(0, len(words), PAYEE_WORD_BYTES))
    key = ChannelKey(Address(row["payer"]), Address(row["signer"]), keccak256(words), row["salt"])
    cumulative = int(row["cumulative"])
    signed = None
    if row["signature"] is not None:
        signed = SignedVoucher(key, Voucher(row["channel"], cumulative, row["work"]), row["signature"])
    return HeldChannel(
        key,
        row["channel"],
        payees,
        row["stage"],
        cumulative,
        int(row["earned"]),
        signed,
        row["unseen_since"] is not None,
    )
