"""The TLS identity on disk: made once, kept, and refused when it cannot be trusted."""

import hashlib
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from incentives.errors import KeyFileError
from node.errors import IdentityDamaged, IdentityMismatch
from node.identity import CERTIFICATE_FILE, KEY_FILE, NodeIdentity, peer_of_certificate


def certificate_of(identity: NodeIdentity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.certificate_path.read_bytes())


def test_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    """A restart does not change who the node is."""
    made = NodeIdentity.load_or_create(tmp_path)

    assert NodeIdentity.load_or_create(tmp_path) == made


def test_two_nodes_are_two_peers(tmp_path: Path) -> None:
    """Keys are random."""
    one, other = NodeIdentity.load_or_create(tmp_path / "one"), NodeIdentity.load_or_create(tmp_path / "other")

    assert one.peer != other.peer


def test_peer_is_the_hash_of_the_public_key(tmp_path: Path) -> None:
    """The certificate's other contents are not part of the name."""
    identity = NodeIdentity.load_or_create(tmp_path)
    certificate = certificate_of(identity)
    public_key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    assert identity.peer == hashlib.sha256(public_key).digest()
    assert peer_of_certificate(certificate.public_bytes(Encoding.DER)) == identity.peer


def test_certificate_is_self_signed_for_ten_years(tmp_path: Path) -> None:
    """Nobody has to renew anything while a node lives."""
    certificate = certificate_of(NodeIdentity.load_or_create(tmp_path))

    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject.rfc4514_string() == "CN=tallystick"
    assert certificate.not_valid_before_utc <= datetime.now(UTC)
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3650)


def test_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Mode 0600 from the first moment, in a directory of mode 0700."""
    identity = NodeIdentity.load_or_create(tmp_path / "new")

    assert stat.S_IMODE(identity.key_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.key_path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o601, 0o604, 0o610, 0o640, 0o660, 0o644, 0o777])
def test_key_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    """Any right for the group or for others is one too many."""
    NodeIdentity.load_or_create(tmp_path).key_path.chmod(mode)

    with pytest.raises(KeyFileError, match="chmod 600"):
        NodeIdentity.load_or_create(tmp_path)


def test_key_with_fewer_rights_is_accepted(tmp_path: Path) -> None:
    """Read-only for the owner is stricter, not looser."""
    made = NodeIdentity.load_or_create(tmp_path)
    made.key_path.chmod(0o400)

    assert NodeIdentity.load_or_create(tmp_path) == made


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"x" * 70_000],
    ids=["empty", "zeros", "cut", "huge"],
)
def test_damaged_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """A key that cannot be read is never replaced by a new one, which would be another peer."""
    identity = NodeIdentity.load_or_create(tmp_path)
    identity.key_path.write_bytes(content)

    with pytest.raises((IdentityDamaged, KeyFileError)):
        NodeIdentity.load_or_create(tmp_path)
    assert identity.key_path.read_bytes() == content


def test_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Only Ed25519 keys name a peer."""
    identity = NodeIdentity.load_or_create(tmp_path)
    other = ec.generate_private_key(ec.SECP256R1())
    identity.key_path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    with pytest.raises(IdentityDamaged, match="Ed25519"):
        NodeIdentity.load_or_create(tmp_path)


def test_linked_key_is_refused(tmp_path: Path) -> None:
    """A link could lead to a place that others control."""
    made = NodeIdentity.load_or_create(tmp_path / "real")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / KEY_FILE).symlink_to(made.key_path)

    with pytest.raises(KeyFileError):
        NodeIdentity.load_or_create(linked)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"x" * 70_000],
    ids=["empty", "text", "cut", "huge"],
)
def test_damaged_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    """The reason says that removing it is enough."""
    NodeIdentity.load_or_create(tmp_path).certificate_path.write_bytes(content)

    with pytest.raises(IdentityDamaged, match="remove it"):
        NodeIdentity.load_or_create(tmp_path)


def test_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    """Files of two nodes that were mixed up are noticed before anybody dials."""
    other = NodeIdentity.load_or_create(tmp_path / "other")
    mine = NodeIdentity.load_or_create(tmp_path / "mine")
    mine.certificate_path.write_bytes(other.certificate_path.read_bytes())

    with pytest.raises(IdentityMismatch):
        NodeIdentity.load_or_create(tmp_path / "mine")


def test_lost_certificate_is_made_again(tmp_path: Path) -> None:
    """The peer is the key's, so a new certificate around it changes nothing."""
    made = NodeIdentity.load_or_create(tmp_path)
    made.certificate_path.unlink()

    assert NodeIdentity.load_or_create(tmp_path).peer == made.peer
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([KEY_FILE, CERTIFICATE_FILE])


def test_lost_key_is_not_replaced(tmp_path: Path) -> None:
    """A new key would be another peer than the one on chain: the operator decides."""
    NodeIdentity.load_or_create(tmp_path).key_path.unlink()

    with pytest.raises(IdentityMismatch, match="missing"):
        NodeIdentity.load_or_create(tmp_path)


def test_server_speaks_tls_13_only(tmp_path: Path) -> None:
    """Older versions are not even offered."""
    context = NodeIdentity.load_or_create(tmp_path).server_ssl_context()

    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("der", [b"", b"\x30\x03\x02\x01\x01", b"garbage"])
def test_bytes_that_are_no_certificate_are_refused(der: bytes) -> None:
    """A peer may show anything."""
    with pytest.raises(ValueError, match=r".+"):
        peer_of_certificate(der)
