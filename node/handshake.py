"""Who is at the other end, before anything else is said.

The dialer knows whom it wants: TLS has shown a certificate, and the hash of its key is the expected peer. The listener
learns who dials: it sends a nonce, the dialer signs Hello(peer, serverNonce, clientNonce, version) over EIP-712 with
its secp256k1 key. The signature names the listener's key, so a listener cannot pass it on to another one.

    listener -> Challenge     dialer -> Hello     listener -> Welcome
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from incentives.errors import InvalidSignature
from incentives.signing import Signer, recover
from node.errors import CertificateMismatch, HandshakeFailed, PeerClosed, PeerError
from node.transport import CloseCode, Pipe
from node.wire import DEFAULT_MAX_PAYLOAD_BYTES, MAX_U32, VERSION
from verification.addresses import Address, address_bytes, to_address
from verification.typed_data import Domain, bytes32_word, struct_hash, typed_digest, uint_word

HANDSHAKE_SECONDS = 5.0
NONCE_BYTES = 32
MAX_HANDSHAKE_BYTES = 512
_HELLO_TYPE = "Hello(bytes32 peer,bytes32 serverNonce,bytes32 clientNonce,uint32 version)"

Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
U32 = Annotated[int, Meta(ge=0, le=MAX_U32)]
Limit = Annotated[int, Meta(ge=1, le=MAX_U32)]


class Challenge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="challenge"):
    """The listener's fresh number."""

    server_nonce: Nonce
    version: U32


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hello"):
    """The dialer's proof of its address. `max_payload`: bytes of payload it takes in one frame."""

    address: Annotated[bytes, Meta(min_length=20, max_length=20)]
    client_nonce: Nonce
    version: U32
    max_payload: Limit
    signature: Annotated[bytes, Meta(max_length=128)]  # other lengths than 64 are InvalidSignature, not garbage


class Welcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="welcome"):
    """The listener believes the dialer. `max_payload`: bytes of payload it takes in one frame."""

    peer: Annotated[bytes, Meta(min_length=32, max_length=32)]
    max_payload: Limit


_Step = Challenge | Hello | Welcome
_S = TypeVar("_S", Challenge, Hello, Welcome)
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Step] = msgspec.msgpack.Decoder(_Step)


@dataclass(frozen=True, slots=True)
class HandshakeTerms:
    """What both sides fix beforehand. `domain` is that of the Stakes contract."""

    domain: Domain
    max_payload: int = DEFAULT_MAX_PAYLOAD_BYTES
    deadline_seconds: float = HANDSHAKE_SECONDS


@dataclass(frozen=True, slots=True)
class Introduced:
    """A dialer whose signature holds. `send_limit`: bytes of payload that it takes in one frame."""

    address: Address
    send_limit: int


def hello_digest(domain: Domain, peer: bytes, server_nonce: bytes, client_nonce: bytes, version: int) -> bytes:
    """What a dialer signs. Raises: verification.errors.MalformedRecord."""
    words = (
        bytes32_word("peer", peer),
        bytes32_word("serverNonce", server_nonce),
        bytes32_word("clientNonce", client_nonce),
        uint_word("version", version, 32),
    )
    return typed_digest(domain, struct_hash(_HELLO_TYPE, words))


def check_certificate(expected: bytes, shown: bytes) -> None:
    """Raises: CertificateMismatch unless the certificate's key hash is the expected one."""
    if not secrets.compare_digest(expected, shown):
        raise CertificateMismatch(expected, shown)


async def meet(pipe: Pipe, peer: bytes, terms: HandshakeTerms) -> Introduced:
    """The listener's part; `peer` is its own. Raises: HandshakeFailed; the pipe is closed then."""
    async with _guarded(pipe, terms.deadline_seconds):
        server_nonce = secrets.token_bytes(NONCE_BYTES)
        await _send(pipe, Challenge(server_nonce, VERSION))
        hello = await _receive(pipe, Hello)
        _check_version(hello.version)
        digest = hello_digest(terms.domain, peer, server_nonce, hello.client_nonce, hello.version)
        address = _signer_of(hello, digest)
        await _send(pipe, Welcome(peer, terms.max_payload))
    return Introduced(address, hello.max_payload)


async def introduce(pipe: Pipe, peer: bytes, signer: Signer, terms: HandshakeTerms) -> int:
    """The dialer's part, after check_certificate; returns the bytes of payload that the listener takes in one frame.

    Raises: HandshakeFailed, CertificateMismatch; the pipe is closed then.
    """
    async with _guarded(pipe, terms.deadline_seconds):
        challenge = await _receive(pipe, Challenge)
        _check_version(challenge.version)
        client_nonce = secrets.token_bytes(NONCE_BYTES)
        digest = hello_digest(terms.domain, peer, challenge.server_nonce, client_nonce, VERSION)
        signature = signer.sign_digest(digest)
        await _send(pipe, Hello(address_bytes(signer.address), client_nonce, VERSION, terms.max_payload, signature))
        welcome = await _receive(pipe, Welcome)
        check_certificate(peer, welcome.peer)
    return welcome.max_payload


@asynccontextmanager
async def _guarded(pipe: Pipe, seconds: float) -> AsyncIterator[None]:
    """One deadline over all steps; whatever goes wrong closes the pipe and has one of two names."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        await pipe.close(CloseCode.POLICY, "handshake took too long")
        raise HandshakeFailed(f"not finished within {seconds:g} s") from None
    except PeerClosed as error:
        await pipe.close(CloseCode.NORMAL, "")
        raise HandshakeFailed(f"the other side ended it, {error.reason or 'without a reason'}") from error
    except HandshakeFailed as error:
        await pipe.close(CloseCode.POLICY, error.reason)
        raise
    except CertificateMismatch:
        await pipe.close(CloseCode.POLICY, "the Welcome names another key")
        raise
    except PeerError as error:
        await pipe.close(CloseCode.POLICY, "handshake failed")
        raise HandshakeFailed(str(error)) from error


async def _send(pipe: Pipe, step: _Step) -> None:
    await pipe.send(_encoder.encode(step))


async def _receive(pipe: Pipe, kind: type[_S]) -> _S:
    data = await pipe.receive()
    if len(data) > MAX_HANDSHAKE_BYTES:
        raise HandshakeFailed(f"a step of {len(data)} bytes, the limit is {MAX_HANDSHAKE_BYTES}")
    try:
        step = _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise HandshakeFailed(f"not a {kind.__name__}: {error}") from error
    if not isinstance(step, kind):
        raise HandshakeFailed(f"expected {kind.__name__}, got {type(step).__name__}")
    return step


def _check_version(version: int) -> None:
    if version != VERSION:
        raise HandshakeFailed(f"the other side speaks version {version}, this one {VERSION}: update the older one")


def _signer_of(hello: Hello, digest: bytes) -> Address:
    claimed = to_address(hello.address)
    try:
        signer = recover(digest, hello.signature)
    except InvalidSignature as error:
        raise HandshakeFailed(str(error)) from error
    if signer != claimed:
        raise HandshakeFailed(f"the signature is not by {claimed} for this listener, challenge and chain")
    return signer
