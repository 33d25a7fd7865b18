"""A SQLite file of the chain client: one process, whole transactions, on the disk when they end.

Write-ahead log and synchronous FULL; a lock file beside it is held as long as it is open. The file says what it is for,
so that it is never used for another chain or account.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from incentives.client_errors import ClientLocked, ClientStoreError

_PURPOSE = "CREATE TABLE purpose (what TEXT NOT NULL) STRICT;"


class ClientDatabase:
    """An open file. Threads may share it, one at a time."""

    def __init__(self, path: Path, purpose: str, schema: str) -> None:
        """`purpose` names the use and its subject, chain id included; `schema` creates the tables of a new file.

        Raises: ClientLocked, ClientStoreError.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path, self._mutex = path, threading.RLock()
        self._lock = _locked(path)
        try:
            with self._translated("not a usable database"):
                self._db = _opened(path)
            try:
                with self._translated("not a usable database"):
                    self._prepare(purpose, schema)
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Statements that are on the disk together when the block ends, or not at all. Raises: ClientStoreError."""
        with self._mutex, self._translated("a write was refused, nothing was recorded"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query. Raises: ClientStoreError."""
        with self._mutex, self._translated("it could not be read"):
            return list(self._db.execute(query, values))

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nothing is written inside the block: what is read there belongs together."""
        with self._mutex:
            yield

    def close(self) -> None:
        """Close the file and release its lock. Idempotent."""
        with self._mutex:
            if self._lock >= 0:
                self._db.close()
                os.close(self._lock)
                self._lock = -1

    def _prepare(self, purpose: str, schema: str) -> None:
        tables = self._db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        if tables == 0:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(f"BEGIN; {_PURPOSE} {schema}")
            self._db.execute("INSERT INTO purpose VALUES (?)", (purpose,))
            self._db.execute("COMMIT")
        found = self._db.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise ClientStoreError(str(self.path), f"it is damaged ({found})")
        row = self._db.execute("SELECT what FROM purpose").fetchone()
        if row is None or row["what"] != purpose:
            raise ClientStoreError(str(self.path), f"it is for {row and row['what']!r}, not for {purpose!r}")
        self._db.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ClientStoreError(str(self.path), f"{doing} ({error})") from error


def _locked(path: Path) -> int:
    lock = path.with_name(f"{path.name}.lock")
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ClientLocked(str(path)) from error
    return descriptor


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # SQLite gives its log the same mode
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    return db
