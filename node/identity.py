"""A node's TLS identity: an Ed25519 key and a self-signed certificate around it, both on disk.

Others pin sha256(SubjectPublicKeyInfo) of the key, which the chain records as the node's `peer`; names and dates in the
certificate mean nothing. The node's secp256k1 key is another file, read by incentives.signing.
"""

import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from incentives.secret_files import create_secret, read_secret
from node.errors import IdentityDamaged, IdentityMismatch
from sharding.hashing import sha256

KEY_FILE = "tls-key.pem"
CERTIFICATE_FILE = "tls-certificate.pem"
COMMON_NAME = "tallystick"
VALID_DAYS = 3652
MAX_CERTIFICATE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """A key and its certificate, checked to be a pair."""

    key_path: Path
    certificate_path: Path
    peer: bytes
    """sha256 of the key's SubjectPublicKeyInfo, 32 bytes."""

    @classmethod
    def load_or_create(cls, directory: Path) -> Self:
        """Read the identity of a data directory, or make one where there is none yet.

        A key without a certificate gets a new certificate, which changes nothing for others; a certificate without its
        key is refused, because a new key would be another peer.
        Raises: IdentityDamaged, IdentityMismatch; incentives.errors.KeyFileError, also when others can read the key.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key_path, certificate_path = directory / KEY_FILE, directory / CERTIFICATE_FILE
        if not os.path.lexists(key_path):
            if os.path.lexists(certificate_path):
                raise IdentityMismatch(
                    certificate_path, f"its key {KEY_FILE} is missing; restore it, or remove this file"
                )
            create_secret(key_path, _new_key())
        key = _read_key(key_path)
        if not certificate_path.exists():
            _write_certificate(certificate_path, key)
        peer = _peer_of_key(key)
        if _read_peer(certificate_path) != peer:
            raise IdentityMismatch(certificate_path, f"is for another key than {KEY_FILE}; remove it to get a new one")
        return cls(key_path, certificate_path, peer)

    def server_ssl_context(self) -> ssl.SSLContext:
        """TLS 1.3 only; dialers are not asked for certificates, the handshake tells who they are."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate_path, self.key_path)
        return context


def client_ssl_context() -> ssl.SSLContext:
    """TLS 1.3 only, any certificate: whoever dials compares its key with the expected peer before speaking."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def peer_of_certificate(der: bytes) -> bytes:
    """Return sha256(SubjectPublicKeyInfo) of a certificate. Raises: ValueError for one that cannot be parsed."""
    try:
        return _spki_hash(x509.load_der_x509_certificate(der))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error


def _spki_hash(certificate: x509.Certificate) -> bytes:
    return sha256(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _peer_of_key(key: Ed25519PrivateKey) -> bytes:
    return sha256(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityDamaged(path, "is not an unencrypted PEM key; restore it from a backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityDamaged(path, f"holds a {type(key).__name__}, expected an Ed25519 key")
    return key


def _read_peer(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_CERTIFICATE_BYTES + 1)
    try:
        if len(content) > MAX_CERTIFICATE_BYTES:
            raise ValueError(f"larger than {MAX_CERTIFICATE_BYTES} bytes")
        return _spki_hash(x509.load_pem_x509_certificate(content))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityDamaged(path, "is not a PEM certificate; remove it to get a new one") from error


def _write_certificate(path: Path, key: Ed25519PrivateKey) -> None:
    """Write beside and rename: a crash leaves a whole certificate or none."""
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_bytes(_self_signed(key).public_bytes(Encoding.PEM))
    draft.replace(path)


def _self_signed(key: Ed25519PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(COMMON_NAME)]), critical=False)
        .sign(key, algorithm=None)
    )
