"""The handshake as seen by an honest dialer in front of lying listeners, and between three parties."""

import asyncio
from typing import Any

import msgspec
import pytest

from incentives.signing import recover
from node.errors import CertificateMismatch, HandshakeFailed, NodeError, PeerClosed
from node.handshake import Challenge, HandshakeTerms, check_certificate, hello_digest, introduce, meet
from node.memory import MemoryPipe, pipe_pair
from node.transport import CloseCode
from node.wire import VERSION
from tests.node.mallory import DOMAIN, OTHER, SIGNER, STAKES
from verification.addresses import address_bytes
from verification.typed_data import Domain

PEER = bytes([3]) * 32
NONCE = bytes([4]) * 32
TERMS = HandshakeTerms(DOMAIN, max_payload=1000)
SHORT = HandshakeTerms(DOMAIN, deadline_seconds=0.05)
GOOD_CHALLENGE = {"type": "challenge", "server_nonce": NONCE, "version": VERSION}
GOOD_WELCOME = {"type": "welcome", "peer": PEER, "max_payload": 2000}


async def answers(pipe: MemoryPipe, *messages: Any) -> None:
    """A listener that says these things whatever it hears."""
    for message in messages:
        await pipe.send(message if isinstance(message, bytes) else msgspec.msgpack.encode(message))


async def end_of(pipe: MemoryPipe) -> NodeError:
    """How a pipe ended, after everything that was sent on it."""
    try:
        while True:
            await pipe.receive()
    except NodeError as error:
        return error


async def test_both_sides_learn_address_and_limits() -> None:
    """An honest handshake gives each side what it did not know."""
    ours, theirs = pipe_pair()

    met, limit = await asyncio.gather(
        meet(theirs, PEER, HandshakeTerms(DOMAIN, max_payload=2000)), introduce(ours, PEER, SIGNER, TERMS)
    )

    assert (met.address, met.send_limit, limit) == (SIGNER.address, 1000, 2000)


async def test_hello_signs_peer_nonces_and_version() -> None:
    """What goes over the wire is what the documentation says."""
    ours, theirs = pipe_pair()
    dialing = asyncio.create_task(introduce(ours, PEER, SIGNER, TERMS))
    await answers(theirs, GOOD_CHALLENGE)
    hello = msgspec.msgpack.decode(await theirs.receive())
    await answers(theirs, GOOD_WELCOME)
    await dialing

    assert hello["address"] == address_bytes(SIGNER.address)
    digest = hello_digest(DOMAIN, PEER, NONCE, hello["client_nonce"], VERSION)
    assert recover(digest, hello["signature"]) == SIGNER.address


def test_digest_depends_on_every_field() -> None:
    """Two handshakes never share a digest."""
    fields: dict[str, Any] = {
        "domain": DOMAIN, "peer": PEER, "server_nonce": NONCE, "client_nonce": OTHER, "version": 1,
    }  # fmt: skip
    changes: list[dict[str, Any]] = [
        {}, {"domain": Domain(1, STAKES)}, {"domain": Domain(31337, SIGNER.address)}, {"peer": OTHER},
        {"server_nonce": OTHER}, {"client_nonce": NONCE}, {"version": 2},
    ]  # fmt: skip

    assert len({hello_digest(**(fields | change)) for change in changes}) == len(changes)


async def test_nonces_are_fresh() -> None:
    """No number is used twice, by either side."""
    challenges, hellos = set(), set()
    for _ in range(3):
        ours, theirs = pipe_pair()
        meeting = asyncio.create_task(meet(theirs, PEER, TERMS))
        dialing = asyncio.create_task(introduce(ours, PEER, SIGNER, TERMS))
        await asyncio.gather(meeting, dialing)
        left, right = pipe_pair()
        meeting = asyncio.create_task(meet(left, PEER, TERMS))
        challenges.add(msgspec.msgpack.decode(await right.receive(), type=Challenge).server_nonce)
        await right.close(CloseCode.NORMAL, "")
        await asyncio.gather(meeting, return_exceptions=True)
        left, right = pipe_pair()
        dialing = asyncio.create_task(introduce(left, PEER, SIGNER, TERMS))
        await answers(right, GOOD_CHALLENGE)
        hellos.add(msgspec.msgpack.decode(await right.receive())["client_nonce"])
        await right.close(CloseCode.NORMAL, "")
        await asyncio.gather(dialing, return_exceptions=True)

    assert (len(challenges), len(hellos)) == (3, 3)


async def test_hello_passed_on_to_another_listener_is_refused() -> None:
    """Mallory, dialled by a victim, cannot pose as the victim elsewhere: the signature names Mallory's key."""
    mallory_peer = OTHER
    victim, at_mallory = pipe_pair()
    from_mallory, honest = pipe_pair()
    dialing = asyncio.create_task(introduce(victim, mallory_peer, SIGNER, TERMS))
    meeting = asyncio.create_task(meet(honest, PEER, TERMS))

    await at_mallory.send(bytes(await from_mallory.receive()))
    await from_mallory.send(bytes(await at_mallory.receive()))

    with pytest.raises(HandshakeFailed, match="for this listener"):
        await meeting
    await at_mallory.close(CloseCode.NORMAL, "")
    with pytest.raises(HandshakeFailed):
        await dialing


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([GOOD_CHALLENGE | {"version": 2}], "version 2"),
        ([GOOD_CHALLENGE | {"version": 0}], "version 0"),
        ([GOOD_CHALLENGE | {"server_nonce": bytes(31)}], "not a Challenge"),
        ([GOOD_CHALLENGE | {"surprise": 1}], "not a Challenge"),
        ([GOOD_WELCOME], "expected Challenge"),
        ([b""], "not a Challenge"),
        ([b"\xc1"], "not a Challenge"),
        ([bytes(513)], "513 bytes, the limit is 512"),
        ([GOOD_CHALLENGE, GOOD_CHALLENGE], "expected Welcome"),
        ([GOOD_CHALLENGE, GOOD_WELCOME | {"max_payload": 0}], "not a Welcome"),
        ([GOOD_CHALLENGE, b"\x91" * 400], "not a Welcome"),
    ],
)
async def test_lying_listener_is_left(messages: list[Any], reason: str) -> None:
    """Each lie has its reason, and the pipe is closed."""
    ours, theirs = pipe_pair()
    await answers(theirs, *messages)

    with pytest.raises(HandshakeFailed, match=reason):
        await introduce(ours, PEER, SIGNER, TERMS)
    assert isinstance(await end_of(theirs), PeerClosed)


async def test_welcome_of_another_key_is_refused() -> None:
    """The listener must be of the same opinion about who it is."""
    ours, theirs = pipe_pair()
    await answers(theirs, GOOD_CHALLENGE, GOOD_WELCOME | {"peer": OTHER})

    with pytest.raises(CertificateMismatch):
        await introduce(ours, PEER, SIGNER, TERMS)


async def test_step_at_the_size_limit_is_read() -> None:
    """512 bytes are looked at: the complaint is about what they say."""
    ours, theirs = pipe_pair()
    await answers(theirs, bytes(512))

    with pytest.raises(HandshakeFailed, match="not a Challenge"):
        await introduce(ours, PEER, SIGNER, TERMS)


async def test_silence_ends_at_the_deadline_on_both_sides() -> None:
    """Neither side waits for ever, and the silent one is told."""
    for side in (lambda pipe: meet(pipe, PEER, SHORT), lambda pipe: introduce(pipe, PEER, SIGNER, SHORT)):
        ours, silent = pipe_pair()
        with pytest.raises(HandshakeFailed, match=r"within 0\.05 s"):
            await side(ours)
        assert "took too long" in str(await end_of(silent))


async def test_deadline_covers_all_steps_together() -> None:
    """A listener that answers each step just in time is still too slow."""
    ours, slow = pipe_pair()
    dialing = asyncio.create_task(introduce(ours, PEER, SIGNER, HandshakeTerms(DOMAIN, deadline_seconds=0.2)))
    await asyncio.sleep(0.15)
    await answers(slow, GOOD_CHALLENGE)

    with pytest.raises(HandshakeFailed, match="within"):
        await dialing


async def test_hang_up_is_told_with_its_reason() -> None:
    """A dialer learns why it was refused."""
    ours, theirs = pipe_pair()
    await theirs.close(CloseCode.POLICY, "not today")

    with pytest.raises(HandshakeFailed, match="not today"):
        await introduce(ours, PEER, SIGNER, TERMS)


def test_certificates_are_compared_whole() -> None:
    """One byte decides."""
    check_certificate(PEER, PEER)
    for shown in (PEER[:-1] + b"\0", PEER[:-1], b""):
        with pytest.raises(CertificateMismatch):
            check_certificate(PEER, shown)
