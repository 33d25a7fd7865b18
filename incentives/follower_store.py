"""What a follower of logs has read so far and what it made of it: both change in one transaction, and can be undone.

The derived state is a table of keys and values. Whoever derives it writes through `Journal`, which notes each former
value beside the block; undoing a block restores them. So no deriver has to know how to undo itself, and none can get it
wrong; the price is one extra row per changed key and block, kept for `depth` blocks only.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from incentives.chain_types import Block
from incentives.client_database import ClientDatabase

_SCHEMA = """
CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, timestamp INTEGER NOT NULL) STRICT;
CREATE TABLE anchor (hash BLOB NOT NULL) STRICT;
CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE undo (block INTEGER, key BLOB, value BLOB, PRIMARY KEY (block, key)) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the derived state and its value."""

    key: bytes
    value: bytes


class Journal:
    """The derived state while one block's events are applied to it."""

    def __init__(self, db: sqlite3.Connection, block: int | None) -> None:
        self._db, self._block = db, block

    def get(self, key: bytes) -> bytes | None:
        """The present value."""
        row = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row["value"])

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        self._note(key)
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, value))

    def delete(self, key: bytes) -> None:
        """Remove a key; one that is not there is no error."""
        self._note(key)
        self._db.execute("DELETE FROM state WHERE key = ?", (key,))

    def scan(self, prefix: bytes) -> list[Entry]:
        """All entries whose keys begin with `prefix`, in the order of the keys."""
        query = "SELECT key, value FROM state WHERE key >= ? AND substr(key, 1, ?) = ? ORDER BY key"
        rows = self._db.execute(query, (prefix, len(prefix), prefix))
        return [Entry(bytes(row["key"]), bytes(row["value"])) for row in rows]

    def _note(self, key: bytes) -> None:
        """Keep the value from before the block; a second change in the same block keeps the first note."""
        if self._block is not None:
            row = (self._block, key, self.get(key))
            self._db.execute("INSERT OR IGNORE INTO undo VALUES (?, ?, ?)", row)


class FollowerStore:
    """The database of one follower. `depth` is the number of blocks that can be undone."""

    def __init__(self, path: Path, purpose: str, depth: int) -> None:
        """Raises: ClientLocked, ClientStoreError; the latter also for a file that serves another purpose."""
        self.depth = depth
        self._database = ClientDatabase(path, purpose, _SCHEMA)

    def newest(self) -> Block | None:
        """The cursor: the last block whose events are in the state."""
        return self._block("SELECT * FROM blocks ORDER BY number DESC LIMIT 1")

    def oldest(self) -> Block | None:
        """The block down to which can be undone."""
        return self._block("SELECT * FROM blocks ORDER BY number LIMIT 1")

    def before(self, number: int) -> Block | None:
        """The newest block kept before that number."""
        return self._block("SELECT * FROM blocks WHERE number < ? ORDER BY number DESC LIMIT 1", number)

    def anchor(self) -> bytes | None:
        """The hash of the very first block, kept for ever."""
        rows = self._database.rows("SELECT hash FROM anchor")
        return bytes(rows[0]["hash"]) if rows else None

    def apply(self, block: Block, change: Callable[[Journal], None], anchor: bytes) -> None:
        """Change the state, move the cursor and forget what is too old to be undone, all or nothing."""
        with self._database.transaction() as db:
            change(Journal(db, block.number))
            self._move(db, block, anchor)

    def apply_final(self, until: Block, change: Callable[[Journal], None], anchor: bytes) -> None:
        """The same for many blocks at once, up to `until`, that will never be undone."""
        with self._database.transaction() as db:
            change(Journal(db, None))
            db.execute("DELETE FROM blocks")
            db.execute("DELETE FROM undo")
            self._move(db, until, anchor)

    def undo_after(self, number: int) -> None:
        """Take back every block after that number, and move the cursor there."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT key, value FROM undo WHERE block > ? ORDER BY block DESC", (number,)).fetchall()
            for row in rows:
                if row["value"] is None:
                    db.execute("DELETE FROM state WHERE key = ?", (row["key"],))
                else:
                    db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (row["key"], row["value"]))
            db.execute("DELETE FROM undo WHERE block > ?", (number,))
            db.execute("DELETE FROM blocks WHERE number > ?", (number,))

    def wipe(self) -> None:
        """Forget everything, to begin anew."""
        with self._database.transaction() as db:
            for table in ("blocks", "anchor", "state", "undo"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from this line

    @contextmanager
    def reading(self) -> Iterator["StateView"]:
        """The state and the cursor it belongs to, unchanged inside the block."""
        with self._database.still():
            yield StateView(self.newest(), self._database)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._database.close()

    def _move(self, db: sqlite3.Connection, block: Block, anchor: bytes) -> None:
        if db.execute("SELECT count(*) FROM anchor").fetchone()[0] == 0:
            db.execute("INSERT INTO anchor VALUES (?)", (anchor,))
        db.execute("INSERT INTO blocks VALUES (?, ?, ?)", (block.number, block.hash, block.timestamp))
        db.execute("DELETE FROM blocks WHERE number < ?", (block.number - self.depth,))
        db.execute("DELETE FROM undo WHERE block <= ?", (block.number - self.depth,))

    def _block(self, query: str, *values: object) -> Block | None:
        rows = self._database.rows(query, *values)
        return Block(rows[0]["number"], rows[0]["timestamp"], bytes(rows[0]["hash"])) if rows else None


@dataclass(frozen=True, slots=True)
class StateView:
    """The derived state as of `cursor`; None before anything was read."""

    cursor: Block | None
    _database: ClientDatabase

    def get(self, key: bytes) -> bytes | None:
        """The value of a key."""
        rows = self._database.rows("SELECT value FROM state WHERE key = ?", key)
        return bytes(rows[0]["value"]) if rows else None

    def scan(self, prefix: bytes = b"") -> list[Entry]:
        """All entries whose keys begin with `prefix`, in the order of the keys."""
        query = "SELECT key, value FROM state WHERE key >= ? AND substr(key, 1, ?) = ? ORDER BY key"
        rows = self._database.rows(query, prefix, len(prefix), prefix)
        return [Entry(bytes(row["key"]), bytes(row["value"])) for row in rows]
