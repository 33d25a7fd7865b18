"""Files that hold secrets: created once, readable by their owner only, refused when anyone else can read them."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from incentives.errors import KeyFileError

MAX_SECRET_BYTES = 64 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)


def read_secret(path: str | PathLike[str]) -> bytes:
    """Read a secret of at most 64 KiB.

    Raises: KeyFileError when it is missing, a link, not a plain file, too large, or open to other users.
    """
    with _translated(path), os.fdopen(os.open(path, os.O_RDONLY | _NO_LINKS), "rb") as file:
        _check_private(path, os.fstat(file.fileno()).st_mode)
        content = file.read(MAX_SECRET_BYTES + 1)
    if len(content) > MAX_SECRET_BYTES:
        raise KeyFileError(str(path), f"larger than {MAX_SECRET_BYTES} bytes, so it is no key file")
    return content


def _check_private(path: str | PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise KeyFileError(str(path), "not a plain file")
    if os.name == "posix" and mode & _OTHERS:
        raise KeyFileError(str(path), f"other users can open it (mode {stat.S_IMODE(mode):04o}); run `chmod 600` on it")


def create_secret(path: str | PathLike[str], content: bytes) -> None:
    """Write a new file with mode 0600 and wait until it is on the disk. Never replaces a file.

    Raises: KeyFileError, also when something is already there.
    """
    with _translated(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS, 0o600)
    try:
        with _translated(path), os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except KeyFileError:
        Path(path).unlink(missing_ok=True)  # half a key is worse than none
        raise
    sync_folder(Path(path).parent)


def sync_folder(folder: Path) -> None:
    """Wait until the folder's list of names is on the disk, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: str | PathLike[str]) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise KeyFileError(str(path), "already there; keys are never overwritten, choose another name") from error
    except OSError as error:
        raise KeyFileError(str(path), error.strerror or str(error)) from error
