"""Keys on disk: created once, closed to others, and no file can make us pay for reading it."""

import copy
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from incentives import signing
from incentives.errors import KeyFileError
from incentives.secret_files import MAX_SECRET_BYTES, create_secret, read_secret
from incentives.signing import LocalSigner

PASSWORD = "correct horse"
CHEAP_N = 2


@pytest.fixture
def keystore(tmp_path: Path) -> dict[str, Any]:
    """The content of a good keystore."""
    LocalSigner.create_keystore(tmp_path / "made.json", PASSWORD, scrypt_n=CHEAP_N)
    content: dict[str, Any] = json.loads((tmp_path / "made.json").read_text())
    return content


def open_keystore(folder: Path, content: object) -> LocalSigner:
    """Write `content` as a keystore and open it."""
    create_secret(folder / "tried.json", json.dumps(content).encode())
    return LocalSigner.from_keystore(folder / "tried.json", PASSWORD)


def test_a_keystore_opens_with_its_password_only(tmp_path: Path) -> None:
    """The wrong one is told so, without the key or the password in the text."""
    made = LocalSigner.create_keystore(tmp_path / "owner.json", PASSWORD, scrypt_n=CHEAP_N)
    assert LocalSigner.from_keystore(tmp_path / "owner.json", PASSWORD).address == made.address
    with pytest.raises(KeyFileError, match="wrong password") as caught:
        LocalSigner.from_keystore(tmp_path / "owner.json", "battery staple")
    assert "battery" not in str(caught.value)


def test_a_key_file_gives_back_its_key(tmp_path: Path) -> None:
    """With and without 0x in front."""
    made = LocalSigner.create_key_file(tmp_path / "node.key")
    assert LocalSigner.from_key_file(tmp_path / "node.key").address == made.address
    create_secret(tmp_path / "prefixed.key", b"0x" + (tmp_path / "node.key").read_bytes())
    assert LocalSigner.from_key_file(tmp_path / "prefixed.key").address == made.address


@pytest.mark.parametrize("create", ["keystore", "key_file"])
def test_new_keys_are_closed_to_others_and_never_replace_anything(tmp_path: Path, create: str) -> None:
    """Mode 0600 whatever the umask; a second creation leaves the first file as it is."""
    path = tmp_path / "secret"
    before = os.umask(0)
    try:
        make = {
            "keystore": lambda: LocalSigner.create_keystore(path, PASSWORD, scrypt_n=CHEAP_N),
            "key_file": lambda: LocalSigner.create_key_file(path),
        }[create]
        make()
        content = path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(KeyFileError, match="already there"):
            make()
    finally:
        os.umask(before)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601])
def test_a_key_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    """The error names the mode and the remedy."""
    LocalSigner.create_key_file(tmp_path / "node.key")
    (tmp_path / "node.key").chmod(mode)
    with pytest.raises(KeyFileError, match=f"{mode:04o}.*chmod 600"):
        LocalSigner.from_key_file(tmp_path / "node.key")


def test_a_read_only_key_is_accepted(tmp_path: Path) -> None:
    """Mode 0400 is closed to others, too."""
    made = LocalSigner.create_key_file(tmp_path / "node.key")
    (tmp_path / "node.key").chmod(0o400)
    assert LocalSigner.from_key_file(tmp_path / "node.key").address == made.address


def test_links_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    """A link could be turned to another file between two looks."""
    create_secret(tmp_path / "real", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("link", ".", "missing", "missing/deeper"):
        with pytest.raises(KeyFileError):
            read_secret(tmp_path / name)
    with pytest.raises(KeyFileError):
        create_secret(tmp_path / "link", b"y")
    assert (tmp_path / "real").read_bytes() == b"x"


def test_the_largest_secret_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    """64 KiB."""
    create_secret(tmp_path / "most", bytes(MAX_SECRET_BYTES))
    create_secret(tmp_path / "more", bytes(MAX_SECRET_BYTES + 1))
    assert len(read_secret(tmp_path / "most")) == MAX_SECRET_BYTES
    with pytest.raises(KeyFileError, match="larger"):
        read_secret(tmp_path / "more")


def test_half_a_key_does_not_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full in the middle, the name is free again."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("incentives.secret_files.os.fsync", full)
    with pytest.raises(KeyFileError, match="No space"):
        create_secret(tmp_path / "node.key", b"half")
    assert not (tmp_path / "node.key").exists()


@pytest.mark.parametrize("content", [b"", b"12", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff" * 64, b"00" * 32])
def test_a_key_file_with_anything_else_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    """Also not as the cause of the error."""
    create_secret(tmp_path / "bad.key", content)
    with pytest.raises(KeyFileError) as caught:
        LocalSigner.from_key_file(tmp_path / "bad.key")
    assert caught.value.__cause__ is None
    assert not content or content.decode("latin-1") not in str(caught.value)


@pytest.mark.parametrize("content", [[], "text", 3, None, {}, {"version": 3}, {"version": 3, "crypto": []}])
def test_json_that_is_no_keystore_is_refused(tmp_path: Path, content: object) -> None:
    """Whatever its shape."""
    with pytest.raises(KeyFileError, match="version 3"):
        open_keystore(tmp_path, content)


def test_bytes_that_are_no_json_are_refused(tmp_path: Path) -> None:
    """Not even text."""
    create_secret(tmp_path / "k", b"\xff\xfe{")
    with pytest.raises(KeyFileError, match="JSON"):
        LocalSigner.from_keystore(tmp_path / "k", PASSWORD)


@pytest.mark.parametrize("version", [1, 4, "3", None])
def test_other_versions_are_refused(tmp_path: Path, keystore: dict[str, Any], version: object) -> None:
    """Version 4 has other, unchecked work factors."""
    with pytest.raises(KeyFileError, match="version 3"):
        open_keystore(tmp_path, {**keystore, "version": version})


@pytest.mark.parametrize(
    "factors",
    [
        {"n": 2**19},
        {"n": 2**19, "r": 1},
        {"n": 0},
        {"n": -2},
        {"n": "2"},
        {"n": True},
        {"n": 2**18, "r": 9},
        {"r": 2**30},
        {"p": 17},
        {"dklen": 65},
        {"dklen": 2**31},
        {"dklen": None},
    ],
)
def test_a_hostile_keystore_cannot_take_our_memory_or_time(
    tmp_path: Path, keystore: dict[str, Any], factors: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before the key derivation starts."""
    monkeypatch.setattr(signing.Account, "decrypt", lambda *_: pytest.fail("the derivation was started"))
    hostile = copy.deepcopy(keystore)
    hostile["crypto"]["kdfparams"].update(factors)
    with pytest.raises(KeyFileError):
        open_keystore(tmp_path, hostile)


@pytest.mark.parametrize("kdf", ["pbkdf2", "argon2id", None, 5])
def test_a_key_derivation_without_known_limits_is_refused(
    tmp_path: Path, keystore: dict[str, Any], kdf: object
) -> None:
    """pbkdf2 here lacks its number of rounds."""
    keystore["crypto"]["kdf"] = kdf
    with pytest.raises(KeyFileError, match="key derivation"):
        open_keystore(tmp_path, keystore)


@pytest.mark.parametrize("field", ["cipherparams", "ciphertext", "mac"])
def test_a_keystore_with_a_part_missing_is_refused(tmp_path: Path, keystore: dict[str, Any], field: str) -> None:
    """As a KeyFileError, not as somebody else's KeyError."""
    del keystore["crypto"][field]
    with pytest.raises(KeyFileError):
        open_keystore(tmp_path, keystore)


def test_a_keystore_is_not_made_too_strong_to_be_opened_again_or_without_password(tmp_path: Path) -> None:
    """Nothing is written in either case."""
    with pytest.raises(KeyFileError, match="limit"):
        LocalSigner.create_keystore(tmp_path / "k", PASSWORD, scrypt_n=2**19)
    with pytest.raises(KeyFileError, match="empty"):
        LocalSigner.create_keystore(tmp_path / "k", "")
    assert list(tmp_path.iterdir()) == []
