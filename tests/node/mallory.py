"""Dialers that lie in the handshake: each attack answers the challenge with bytes that no listener may believe."""

import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import torch

from incentives.signing import GROUP_ORDER, LocalSigner
from node.handshake import Challenge, hello_digest
from node.transport import Pipe
from node.wire import VERSION, encode, hidden_frame
from verification.addresses import address_bytes, to_address
from verification.typed_data import Domain

STAKES = to_address(bytes([7]) * 20)
DOMAIN = Domain(31337, STAKES)
SIGNER = LocalSigner.dev_account(1, 31337)
OTHER_SIGNER = LocalSigner.dev_account(2, 31337)
CLIENT_NONCE = bytes([5]) * 32
OTHER = bytes([6]) * 32

Attack = Callable[[Challenge, bytes], bytes]
"""(the listener's challenge, its peer) -> what is sent instead of an honest Hello."""


async def challenged(pipe: Pipe) -> Challenge:
    """The first message of a listener."""
    return msgspec.msgpack.decode(await pipe.receive(), type=Challenge)


def hello(challenge: Challenge, peer: bytes, **changes: Any) -> bytes:
    """An honest Hello, with fields changed after it was signed; None removes one."""
    digest = hello_digest(DOMAIN, peer, challenge.server_nonce, CLIENT_NONCE, VERSION)
    fields = {
        "type": "hello", "address": address_bytes(SIGNER.address), "client_nonce": CLIENT_NONCE,
        "version": VERSION, "max_payload": 1024, "signature": SIGNER.sign_digest(digest),
    } | changes  # fmt: skip
    return msgspec.msgpack.encode({key: value for key, value in fields.items() if value is not None})


def signing(**changes: Any) -> Attack:
    """Sign something else than this listener's challenge, and claim that it is the right thing."""

    def attack(challenge: Challenge, peer: bytes) -> bytes:
        signed = {
            "domain": DOMAIN, "peer": peer, "server_nonce": challenge.server_nonce,
            "client_nonce": CLIENT_NONCE, "version": VERSION,
        } | changes  # fmt: skip
        return hello(challenge, peer, signature=SIGNER.sign_digest(hello_digest(**signed)))

    return attack


def saying(**changes: Any) -> Attack:
    """Change the Hello after it was signed."""
    return lambda challenge, peer: hello(challenge, peer, **changes)


def sending(data: bytes) -> Attack:
    """Answer with something else altogether."""
    return lambda challenge, peer: data


def _flipped(challenge: Challenge, peer: bytes) -> bytes:
    good = msgspec.msgpack.decode(hello(challenge, peer))["signature"]
    return hello(challenge, peer, signature=good[:-1] + bytes([good[-1] ^ 1]))


def _other_parity(challenge: Challenge, peer: bytes) -> bytes:
    good = msgspec.msgpack.decode(hello(challenge, peer))["signature"]
    return hello(challenge, peer, signature=good[:32] + bytes([good[32] ^ 0x80]) + good[33:])


_HIGH_S = (1).to_bytes(32, "big") + (GROUP_ORDER // 2 + 1).to_bytes(32, "big")

ATTACKS: dict[str, Attack] = {
    "signature empty": saying(signature=b""),
    "signature short": saying(signature=bytes(63)),
    "signature of 65 bytes": saying(signature=bytes(65)),
    "signature of zeros": saying(signature=bytes(64)),
    "signature of ones": saying(signature=b"\xff" * 64),
    "signature with a high s": saying(signature=_HIGH_S),
    "signature with one bit flipped": _flipped,
    "signature with the other parity": _other_parity,
    "address of somebody else": saying(address=address_bytes(OTHER_SIGNER.address)),
    "address zero": saying(address=bytes(20)),
    "signed for another listener": signing(peer=OTHER),
    "signed for another challenge": signing(server_nonce=OTHER),
    "signed with another nonce": signing(client_nonce=OTHER),
    "signed for another version": signing(version=VERSION + 1),
    "signed for another chain": signing(domain=Domain(1, STAKES)),
    "signed for another contract": signing(domain=Domain(31337, to_address(bytes([8]) * 20))),
    "nonce changed": saying(client_nonce=OTHER),
    "nonce short": saying(client_nonce=bytes(31)),
    "version 0": saying(version=0),
    "version 2": saying(version=2),
    "limit of nothing": saying(max_payload=0),
    "limit past 32 bits": saying(max_payload=2**32),
    "unknown field": saying(surprise=1),
    "missing field": saying(client_nonce=None),
    "another step": sending(msgspec.msgpack.encode({"type": "welcome", "peer": OTHER, "max_payload": 1})),
    "nothing": sending(b""),
    "garbage": sending(b"\xc1garbage"),
    "pickle": sending(pickle.dumps({"type": "hello"})),
    "deep nesting": sending(b"\x91" * 500),
    "too long": sending(msgspec.msgpack.encode("x" * 600)),
    "a frame": sending(encode(hidden_frame(bytes(16), 0, 0, 0, torch.zeros(1, 4)))),
}
