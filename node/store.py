"""What must survive a kill: vouchers held, work done on credit, channels opened. One SQLite file per data directory.

Write-ahead log, synchronous FULL, and a lock file held for the life of the process: a second process on the same
directory is refused, so nothing here is ever written by two.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import StoreError, StoreLocked

DATABASE_FILE = "tallystick.sqlite"
TABLES = frozenset({"held_vouchers", "opened_channels"})
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE held_vouchers (
        channel BLOB PRIMARY KEY,
        payer TEXT NOT NULL,
        signer TEXT NOT NULL,
        payees BLOB NOT NULL,
        salt BLOB NOT NULL,
        stage INTEGER NOT NULL,
        cumulative TEXT NOT NULL,
        earned TEXT NOT NULL,
        work BLOB,
        signature BLOB
    ) STRICT;
    CREATE TABLE opened_channels (
        channel BLOB PRIMARY KEY,
        payer TEXT NOT NULL,
        signer TEXT NOT NULL,
        payees BLOB NOT NULL,
        salt BLOB NOT NULL,
        locked TEXT NOT NULL,
        cumulative TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('planned', 'open', 'busy', 'closing', 'reclaimed'))
    ) STRICT;
    """,
    "ALTER TABLE opened_channels ADD COLUMN owing TEXT NOT NULL DEFAULT '0';",
    """
    CREATE TABLE paid_sessions (
        digest BLOB PRIMARY KEY,
        channel BLOB NOT NULL,
        route BLOB NOT NULL,
        cumulative TEXT NOT NULL,
        amount TEXT NOT NULL,
        positions INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX paid_sessions_of_channel ON paid_sessions (channel);
    """,
    "ALTER TABLE held_vouchers ADD COLUMN unseen_since INTEGER;",
)


class Store:
    """An open database; safe to use from several threads, one statement at a time."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if directory.stat().st_mode & 0o022:
            raise StoreError(f"others can write to {directory}; say chmod go-w {directory}")
        self._lock = _lock_directory(directory)
        self._mutex = threading.RLock()
        try:
            self._db = _open_database(directory / DATABASE_FILE)
        except BaseException:
            os.close(self._lock)
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements as one durable unit: on disk when the block ends, or not at all."""
        with self._mutex:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise StoreError(f"the database refused a write ({error}); nothing was recorded") from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._lock >= 0 and self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Read all rows of a query. Raises: StoreError."""
        with self._mutex:
            return _rows(self._db, query, values)

    def close(self) -> None:
        """Flush, close and release the directory. Idempotent."""
        with self._mutex:
            if self._lock >= 0:
                self._db.close()
                os.close(self._lock)
                self._lock = -1


class StoreReader:
    """The database of a directory, only read: also beside the process that writes it, whose last transaction is seen whole."""

    def __init__(self, directory: Path) -> None:
        path = (directory / DATABASE_FILE).resolve()
        try:
            self._db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            version = _checked_version(self._db, path)
        except sqlite3.Error as error:
            raise StoreError(f"{path} could not be read ({error})") from error
        if not version:
            self._db.close()
            raise StoreError(f"{path} is empty; the node has not run yet")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Read all rows of a query. Raises: StoreError."""
        return _rows(self._db, query, values)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _rows(db: sqlite3.Connection, query: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
    try:
        return list(db.execute(query, values))
    except sqlite3.Error as error:
        raise StoreError(f"the database could not be read ({error})") from error


def _lock_directory(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreLocked(directory) from error
    return descriptor


def _open_database(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)  # SQLite gives the log beside it the same mode
    path.chmod(0o600)
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"{path} is not a usable database ({error}); restore it from a backup") from error
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.row_factory = sqlite3.Row
    version = _checked_version(db, path)  # before the first pragma that writes: another program's file stays as it is
    _check_integrity(db, path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    _migrate(db, version)


def _checked_version(db: sqlite3.Connection, path: Path) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreError(f"{path} was written by a newer version (schema {version}); upgrade tallystick")
    tables = {row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = TABLES - tables
    if missing if version else tables:
        raise StoreError(f"{path} belongs to another program; choose another data directory")
    return version


def _check_integrity(db: sqlite3.Connection, path: Path) -> None:
    result = db.execute("PRAGMA quick_check").fetchone()[0]
    if result != "ok":
        raise StoreError(f"{path} is damaged ({result}); restore it from a backup before starting")


def _migrate(db: sqlite3.Connection, version: int) -> None:
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
