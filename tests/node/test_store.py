"""The store: one owner, whole transactions, and a clear no to a file that cannot be trusted."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import StoreError, StoreLocked
from node.store import MIGRATIONS, Store, StoreReader

FILE = "tallystick.sqlite"
INSERT = (
    "INSERT INTO opened_channels (channel, payer, signer, payees, salt, locked, cumulative, state)"
    " VALUES (?, 'p', 's', x'00', x'00', '0', '0', 'open')"
)
HOLDER = """
import sys
from pathlib import Path
from node.store import Store
store = Store(Path(sys.argv[1]))
sys.stdout.write("open\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def count(store: Store) -> int:
    """Rows in the table that these tests write."""
    return len(store.rows("SELECT channel FROM opened_channels"))


def written(folder: Path) -> Path:
    """A store of one row that was closed well; returns its file."""
    store = Store(folder)
    with store.transaction() as db:
        db.execute(INSERT, (b"kept",))
    store.close()
    return folder / FILE


def test_rows_survive_closing(tmp_path: Path) -> None:
    """What a transaction wrote is there for the next process."""
    written(tmp_path)
    store = Store(tmp_path)

    assert [row["channel"] for row in store.rows("SELECT channel FROM opened_channels")] == [b"kept"]
    store.close()


def test_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Nobody else reads who pays whom, in no file of the store."""
    folder = tmp_path / "a" / "b"
    before = os.umask(0o022)
    try:
        store = Store(folder)
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    store.close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert f"{FILE}-wal" in modes
    assert set(modes.values()) == {0o600}


def test_writes_wait_for_the_disk(tmp_path: Path) -> None:
    """Write-ahead log and full synchronisation: a power cut loses nothing that was acknowledged."""
    store = Store(tmp_path)

    assert store.rows("PRAGMA journal_mode")[0][0] == "wal"
    assert store.rows("PRAGMA synchronous")[0][0] == 2
    store.close()


def test_second_store_of_a_folder_is_refused(tmp_path: Path) -> None:
    """Two writers of one ledger would sell the same credit twice."""
    store = Store(tmp_path)

    with pytest.raises(StoreLocked) as caught:
        Store(tmp_path)

    assert caught.value.directory == tmp_path
    store.close()
    Store(tmp_path).close()


def test_folder_of_another_process_is_refused_until_it_dies(tmp_path: Path) -> None:
    """The lock is the system's: it goes with its process, however that ends."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=-1, stdout=-1) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreLocked):
            Store(tmp_path)
        holder.send_signal(signal.SIGKILL)

    Store(tmp_path).close()


def test_refused_second_store_leaves_the_first_alone(tmp_path: Path) -> None:
    """Being refused must not release the lock of the one who has it."""
    store = Store(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreLocked):
            Store(tmp_path)

    with store.transaction() as db:
        db.execute(INSERT, (b"a",))
    assert count(store) == 1
    store.close()


def test_failed_statement_leaves_nothing(tmp_path: Path) -> None:
    """A transaction is whole or not at all, and the store goes on."""
    store = Store(tmp_path)

    with pytest.raises(StoreError, match="nothing was recorded"), store.transaction() as db:
        db.execute(INSERT, (b"a",))
        db.execute(INSERT, (b"a",))

    assert count(store) == 0
    with store.transaction() as db:
        db.execute(INSERT, (b"a",))
    assert count(store) == 1
    store.close()


def test_error_inside_a_transaction_leaves_nothing_and_keeps_its_name(tmp_path: Path) -> None:
    """An error that is not the database's goes through as it is."""
    store = Store(tmp_path)

    with pytest.raises(LookupError, match="mine"), store.transaction() as db:
        db.execute(INSERT, (b"a",))
        raise LookupError("mine")

    assert count(store) == 0
    store.close()


def test_transaction_inside_a_transaction_is_refused(tmp_path: Path) -> None:
    """The inner one could not be durable on its own; nothing of either is kept."""
    store = Store(tmp_path)

    with pytest.raises(StoreError), store.transaction() as db:
        db.execute(INSERT, (b"a",))
        with store.transaction():
            pytest.fail("began twice")

    assert count(store) == 0
    store.close()


def test_closed_store_says_so(tmp_path: Path) -> None:
    """Use after close is a named error; closing twice is none."""
    store = Store(tmp_path)
    store.close()
    store.close()

    with pytest.raises(StoreError):
        store.rows("SELECT 1")
    with pytest.raises(StoreError), store.transaction():
        pytest.fail("began on a closed store")


def test_unknown_table_is_a_named_error(tmp_path: Path) -> None:
    """Reading raises nothing of sqlite3's own."""
    store = Store(tmp_path)

    with pytest.raises(StoreError, match="no such table"):
        store.rows("SELECT * FROM missing")
    store.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like one" * 100, b"SQLite format 3\0"])
def test_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """It is neither used nor overwritten."""
    (tmp_path / FILE).write_bytes(content)

    with pytest.raises(StoreError, match=r"tallystick\.sqlite"):
        Store(tmp_path)

    assert (tmp_path / FILE).read_bytes() == content


def test_damaged_database_is_refused(tmp_path: Path) -> None:
    """A page of noise is found before anything is read from it."""
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    content[size : 2 * size] = bytes(range(256)) * (size // 256)
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"tallystick\.sqlite"):
        Store(tmp_path)


def test_truncated_database_is_refused(tmp_path: Path) -> None:
    """Half a file is not half the money."""
    path = written(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    with pytest.raises(StoreError):
        Store(tmp_path)


def test_newer_database_is_refused(tmp_path: Path) -> None:
    """The schema one past the last known one; the last known one itself is read."""
    path = written(tmp_path)
    Store(tmp_path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()

    with pytest.raises(StoreError, match="newer version"):
        Store(tmp_path)


@pytest.mark.parametrize("version", [0, 1])
def test_database_of_another_program_is_refused(tmp_path: Path, version: int) -> None:
    """It gets no tables of ours and stays byte for byte what it was."""
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("CREATE TABLE theirs (x)")
    db.execute(f"PRAGMA user_version = {version}")
    db.close()
    before = (tmp_path / FILE).read_bytes()

    with pytest.raises(StoreError, match="another program"):
        Store(tmp_path)

    assert (tmp_path / FILE).read_bytes() == before


def test_refused_database_frees_the_folder(tmp_path: Path) -> None:
    """Who repairs the file can start without ending this process first."""
    (tmp_path / FILE).write_bytes(b"noise" * 1000)
    with pytest.raises(StoreError):
        Store(tmp_path)
    (tmp_path / FILE).unlink()

    Store(tmp_path).close()


def test_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """A named error, not sqlite3's."""
    (tmp_path / FILE).mkdir(mode=0o700)

    with pytest.raises(StoreError):
        Store(tmp_path)


def test_unknown_state_cannot_be_written(tmp_path: Path) -> None:
    """The schema itself refuses a state that nobody would understand."""
    store = Store(tmp_path)

    with pytest.raises(StoreError), store.transaction() as db:
        db.execute(INSERT.replace("'open'", "'odd'"), (b"a",))
    store.close()


def test_reader_sees_what_the_running_owner_has_written(tmp_path: Path) -> None:
    """Whole transactions, the newest ones too, without taking the folder or holding the owner up."""
    written(tmp_path)
    store = Store(tmp_path)
    reader = StoreReader(tmp_path)
    with store.transaction() as db:
        db.execute(INSERT, (b"new",))
        assert len(reader.rows("SELECT channel FROM opened_channels")) == 1
    assert len(reader.rows("SELECT channel FROM opened_channels")) == 2
    reader.close()
    assert count(store) == 2
    store.close()


def test_reader_cannot_write(tmp_path: Path) -> None:
    """Only the owner changes anything."""
    written(tmp_path)
    reader = StoreReader(tmp_path)
    with pytest.raises(StoreError, match="readonly"):
        reader.rows("DELETE FROM opened_channels")
    reader.close()


def test_reader_of_nothing_says_so_and_makes_no_file(tmp_path: Path) -> None:
    """A node that never ran has nothing to be read."""
    with pytest.raises(StoreError, match=r"tallystick\.sqlite"):
        StoreReader(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database at all, but longer than a header " * 50])
def test_reader_refuses_what_is_no_store(tmp_path: Path, content: bytes) -> None:
    """As the owner would."""
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StoreError):
        StoreReader(tmp_path)
