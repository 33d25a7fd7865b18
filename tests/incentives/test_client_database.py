"""The client's files: one process, one purpose, whole transactions."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from incentives.client_database import ClientDatabase
from incentives.client_errors import ClientLocked, ClientStoreError

SCHEMA = "CREATE TABLE things (name TEXT NOT NULL) STRICT;"
KILLED = """
import os, sys
from pathlib import Path
from incentives.client_database import ClientDatabase
database = ClientDatabase(Path(sys.argv[1]), "things", "CREATE TABLE things (name TEXT NOT NULL) STRICT;")
with database.transaction() as db:
    db.execute("INSERT INTO things VALUES ('kept')")
with database.transaction() as db:
    db.execute("INSERT INTO things VALUES ('lost')")
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "things.sqlite"


def opened(path: Path, purpose: str = "things") -> ClientDatabase:
    return ClientDatabase(path, purpose, SCHEMA)


def names(database: ClientDatabase) -> list[str]:
    """What is kept."""
    return [row["name"] for row in database.rows("SELECT name FROM things")]


def test_a_killed_process_leaves_whole_transactions(path: Path) -> None:
    """And its lock goes with it."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    database = opened(path)
    assert names(database) == ["kept"]
    database.close()


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    """Whatever failed in it."""
    database = opened(path)
    with pytest.raises(KeyError), database.transaction() as db:
        db.execute("INSERT INTO things VALUES ('a')")
        raise KeyError
    with pytest.raises(ClientStoreError, match="nothing was recorded"), database.transaction() as db:
        db.execute("INSERT INTO things VALUES ('a')")
        db.execute("INSERT INTO things VALUES (NULL)")
    assert names(database) == []
    database.close()


def test_one_process_has_it(path: Path) -> None:
    """The second one is told so, until the first has closed it."""
    database = opened(path)
    with pytest.raises(ClientLocked, match="another process"):
        opened(path)
    database.close()
    database.close()
    opened(path).close()


def test_it_serves_one_purpose(path: Path) -> None:
    """And says which."""
    opened(path, "it's for 'a'").close()
    opened(path, "it's for 'a'").close()
    with pytest.raises(ClientStoreError, match="not for 'b'"):
        opened(path, "b")


def test_a_file_of_another_program_is_left_alone(path: Path) -> None:
    """Nothing is written into it."""
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE foreign_things (name TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ClientStoreError):
        opened(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused(path: Path) -> None:
    """With a named error."""
    path.parent.mkdir()
    path.write_bytes(b"no database " * 500)
    with pytest.raises(ClientStoreError, match="not a usable database"):
        opened(path)


def test_it_is_for_its_owner_alone_and_waits_for_the_disk(path: Path) -> None:
    """Signed transactions lie in it."""
    database = opened(path)
    with database.transaction() as db:
        db.execute("INSERT INTO things VALUES ('a')")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
    assert database.rows("PRAGMA synchronous")[0][0] == 2
    assert database.rows("PRAGMA journal_mode")[0][0] == "wal"
    database.close()
