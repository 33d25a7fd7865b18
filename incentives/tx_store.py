"""The record of one account's transactions. Every change of state is on the disk before anything is done about it."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from incentives.client_database import ClientDatabase
from incentives.client_errors import ClientStoreError
from incentives.errors import TransactionLost
from incentives.tx_states import HOLDING, LIVE, NEXT, Attempt, Fees, Inclusion, Job, TxState, Wanted
from verification.addresses import Address, to_address

_SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    keyed INTEGER NOT NULL,
    target TEXT,
    data BLOB NOT NULL,
    value TEXT NOT NULL,
    gas INTEGER,
    state TEXT NOT NULL,
    nonce INTEGER,
    mined_hash BLOB,
    mined_block INTEGER,
    mined_block_hash BLOB,
    success INTEGER,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state);
CREATE TABLE attempts (
    hash BLOB PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES jobs (number),
    ordinal INTEGER NOT NULL,
    raw BLOB NOT NULL,
    nonce INTEGER NOT NULL,
    gas INTEGER NOT NULL,
    max_fee TEXT NOT NULL,
    tip TEXT NOT NULL,
    state TEXT NOT NULL,
    signed_at REAL NOT NULL,
    sent_at REAL
) STRICT;
CREATE INDEX attempts_by_job ON attempts (job, ordinal);
"""
_NOWHERE = "mined_hash = NULL, mined_block = NULL, mined_block_hash = NULL, success = NULL"


def _path(directory: Path, chain_id: int, account: str) -> Path:
    return directory / f"transactions-{chain_id}-{to_address(account).lower()}.sqlite"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction about which something is still to be done; `nonce` None before it is signed."""

    key: str
    state: TxState
    nonce: int | None


def waiting_in(directory: Path, chain_id: int, account: str) -> tuple[Waiting, ...]:
    """What a record has under way, only read: also beside the process that writes it. Raises: ClientStoreError."""
    path = _path(directory, chain_id, account)
    if not path.exists():
        return ()
    marks = ", ".join("?" * len(LIVE))
    query = f"SELECT key, state, nonce FROM jobs WHERE state IN ({marks}) ORDER BY number"  # noqa: S608 - question marks
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            rows = db.execute(query, sorted(LIVE)).fetchall()
        return tuple(Waiting(key, TxState(state), nonce) for key, state, nonce in rows)
    except (sqlite3.Error, ValueError) as error:
        raise ClientStoreError(str(path), f"it could not be read ({error})") from error


class TxStore:
    """Amounts and prices are kept as text: they may be longer than SQLite's numbers."""

    def __init__(self, directory: Path, chain_id: int, account: str) -> None:
        """One file per chain and account. Raises: ClientLocked while another process has it, ClientStoreError."""
        address = to_address(account)
        path = _path(directory, chain_id, account)
        self._database = ClientDatabase(path, f"transactions of {address} on chain {chain_id}", _SCHEMA)

    def job(self, number: int) -> Job:
        """A job by its number. Raises: ClientStoreError for one that is not there."""
        found = self._jobs("SELECT * FROM jobs WHERE number = ?", number)
        if not found:
            raise ClientStoreError(str(self._database.path), f"transaction {number} is missing")
        return found[0]

    def by_key(self, key: str) -> Job | None:
        """The job of an idempotency key."""
        found = self._jobs("SELECT * FROM jobs WHERE key = ?", key)
        return found[0] if found else None

    def live(self) -> list[Job]:
        """Jobs about which something is still to be done, oldest number first."""
        return self._in(sorted(LIVE))

    def held_numbers(self, at_least: int) -> set[int]:
        """Transaction numbers from `at_least` on that belong to a job."""
        marks = ", ".join("?" * len(HOLDING))
        query = f"SELECT nonce FROM jobs WHERE nonce >= ? AND state IN ({marks})"  # noqa: S608 - question marks
        return {row["nonce"] for row in self._database.rows(query, at_least, *sorted(HOLDING))}

    def used_numbers(self) -> int:
        """How many transaction numbers are spent for good by what is recorded here, whatever anybody says."""
        query = "SELECT max(nonce) AS last FROM jobs WHERE state = ? OR (state = ? AND mined_hash IS NOT NULL)"
        last = self._database.rows(query, TxState.FINAL, TxState.FAILED)[0]["last"]
        return 0 if last is None else int(last) + 1

    def plan(self, key: str, keyed: bool, wanted: Wanted) -> Job:
        """Record a wish."""
        values = (key, keyed, wanted.to, wanted.data, str(wanted.value), wanted.gas, TxState.PLANNED, "")
        columns = "key, keyed, target, data, value, gas, state, reason"
        with self._database.transaction() as db:
            cursor = db.execute(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
            number = cursor.lastrowid
        return self.job(number or 0)

    def move(self, job: Job, state: TxState, *, nonce: int | None = None, reason: str = "") -> Job:
        """Change a job's state. Raises: ClientStoreError for a change that `NEXT` does not know."""
        with self._database.transaction() as db:
            self._move(db, job, state)
            db.execute("UPDATE jobs SET reason = ? WHERE number = ?", (reason, job.number))
            if nonce is not None:
                db.execute("UPDATE jobs SET nonce = ? WHERE number = ?", (nonce, job.number))
            if state is TxState.BROADCAST and job.state is TxState.MINED:
                db.execute("UPDATE attempts SET state = ? WHERE job = ? AND nonce = ?", (state, job.number, job.nonce))
                db.execute(f"UPDATE jobs SET {_NOWHERE} WHERE number = ?", (job.number,))  # noqa: S608 - names from here
            if state is TxState.REPLACED:
                db.execute("UPDATE attempts SET state = ? WHERE job = ?", (state, job.number))
        return self.job(job.number)

    def sign(self, job: Job, attempt: Attempt) -> Job:
        """Keep a signed form, and with a job's first one its number, before anybody else sees it.

        Raises: TransactionLost where another job has the very same: mined, it could not be told whose it was.
        """
        fees = (str(attempt.fees.max_fee), str(attempt.fees.tip))
        place = (attempt.tx_hash, job.number, len(job.attempts), attempt.raw, attempt.nonce, attempt.gas)
        with self._database.transaction() as db:
            if job.state is TxState.PLANNED:
                self._move(db, job, TxState.SIGNED)
            db.execute("UPDATE jobs SET nonce = ? WHERE number = ?", (attempt.nonce, job.number))
            values = (*place, *fees, TxState.SIGNED, attempt.signed_at, None)
            kept = db.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (hash) DO UPDATE SET state = excluded.state WHERE job = excluded.job",
                values,
            )
            if kept.rowcount != 1:
                raise TransactionLost(attempt.tx_hash, 0.0, "an earlier transaction has the same bytes")
        return self.job(job.number)

    def sent(self, job: Job, attempt: Attempt, at: float) -> Job:
        """Record that a signed form was offered, or offered again; `at` in seconds since 1970."""
        with self._database.transaction() as db:
            if job.state is TxState.SIGNED:
                self._move(db, job, TxState.BROADCAST)
            query = "UPDATE attempts SET state = ?, sent_at = ? WHERE hash = ?"
            db.execute(query, (TxState.BROADCAST, at, attempt.tx_hash))
        return self.job(job.number)

    def include(self, job: Job, found: Inclusion, state: TxState) -> Job:
        """Record the block that holds a job: mined, final, or failed when it is final that it reverted."""
        with self._database.transaction() as db:
            self._move(db, job, state)
            columns = "mined_hash = ?, mined_block = ?, mined_block_hash = ?, success = ?, reason = ?"
            reason = "" if found.success else "it reverted in its block"
            values = (found.tx_hash, found.block, found.block_hash, found.success, reason, job.number)
            db.execute(f"UPDATE jobs SET {columns} WHERE number = ?", values)  # noqa: S608 - names from above
            own = TxState.FINAL if state in (TxState.FINAL, TxState.FAILED) else TxState.MINED
            query = "UPDATE attempts SET state = CASE WHEN hash = ? THEN ? ELSE ? END WHERE job = ?"
            db.execute(query, (found.tx_hash, own, TxState.REPLACED, job.number))
        return self.job(job.number)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._database.close()

    def _move(self, db: sqlite3.Connection, job: Job, state: TxState) -> None:
        """Only from the state that the job was read in: nobody acts on an old picture."""
        if state not in NEXT[job.state]:
            raise ClientStoreError(str(self._database.path), f"{job.key!r} cannot go from {job.state} to {state}")
        query = "UPDATE jobs SET state = ? WHERE number = ? AND state = ?"
        if db.execute(query, (state, job.number, job.state)).rowcount != 1:
            raise ClientStoreError(str(self._database.path), f"{job.key!r} is no longer {job.state}")

    def _in(self, states: Sequence[TxState]) -> list[Job]:
        marks = ", ".join("?" * len(states))
        query = f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY nonce IS NULL, nonce, number"  # noqa: S608
        return self._jobs(query, *states)

    def _jobs(self, query: str, *values: object) -> list[Job]:
        with self._database.still():
            return [self._job(row) for row in self._database.rows(query, *values)]

    def _job(self, row: sqlite3.Row) -> Job:
        attempts = self._database.rows("SELECT * FROM attempts WHERE job = ? ORDER BY ordinal", row["number"])
        target = None if row["target"] is None else Address(row["target"])
        return Job(
            number=row["number"],
            key=row["key"],
            keyed=bool(row["keyed"]),
            wanted=Wanted(target, bytes(row["data"]), int(row["value"]), row["gas"]),
            state=TxState(row["state"]),
            nonce=row["nonce"],
            inclusion=_inclusion(row),
            reason=row["reason"],
            attempts=tuple(map(_attempt, attempts)),
        )


def _inclusion(row: sqlite3.Row) -> Inclusion | None:
    if row["mined_hash"] is None:
        return None
    block_hash = bytes(row["mined_block_hash"])
    return Inclusion(bytes(row["mined_hash"]), row["mined_block"], block_hash, bool(row["success"]))


def _attempt(row: sqlite3.Row) -> Attempt:
    fees = Fees(int(row["max_fee"]), int(row["tip"]))
    kept = (bytes(row["hash"]), bytes(row["raw"]), row["nonce"], row["gas"])
    return Attempt(*kept, fees, TxState(row["state"]), row["signed_at"], row["sent_at"])
