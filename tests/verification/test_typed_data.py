"""EIP-712 hashing agrees with eth-account's independent implementation and refuses what its types cannot hold."""

import pytest
from eth_account.messages import encode_typed_data

from sharding.hashing import keccak256
from verification.addresses import to_address
from verification.errors import MalformedAddress, MalformedRecord
from verification.receipts import Receipt, contradict
from verification.routes import AUDIT_NONE, MAX_STAGES, MAX_WINDOW_TOKENS, ZERO_HASH, Route, RouteStage, profile_id
from verification.typed_data import Domain, address_word, bytes32_word, uint_word

NODE = to_address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
OTHER = to_address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
DOMAIN = Domain(31337, OTHER)
RECEIPT = Receipt(b"r" * 32, 1, 2, 16, 32, b"p" * 32, b"i" * 32, b"k" * 32, b"o" * 32)


def make_route(**changes: object) -> Route:
    """A route with every field set to something that shows if it is left out."""
    fields = {
        "nonce": b"n" * 32,
        "channel": b"c" * 32,
        "epoch": 3,
        "previous": ZERO_HASH,
        "stages": (RouteStage(NODE, 0, 2, 10**12), RouteStage(OTHER, 2, 8, 2**96 - 1)),
        "manifest": b"m" * 32,
        "profile": profile_id("float32"),
        "sampler": b"s" * 32,
        "prompt_root": b"t" * 32,
        "window": 16,
        "audit_policy": AUDIT_NONE,
        "expiry": 1_900_000_000,
    }
    return Route(**(fields | changes))  # type: ignore[arg-type]


def typed_message(primary: str, types: dict[str, str], message: dict[str, object]) -> bytes:
    """The digest of a message by eth-account."""
    members = {
        name: [dict(zip(("type", "name"), field.split(), strict=True)) for field in fields.split(",")]
        for name, fields in types.items()
    }
    members["EIP712Domain"] = [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ]
    domain = {"name": "Tallystick", "version": "1", "chainId": 31337, "verifyingContract": OTHER}
    signable = encode_typed_data(
        full_message={"types": members, "primaryType": primary, "domain": domain, "message": message}
    )
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)


def test_route_digest_is_standard() -> None:
    """A wallet that knows only EIP-712 signs the same route digest."""
    route = make_route()
    types = {
        "RouteStage": "address node,uint32 start,uint32 end,uint96 ask",
        "Route": "bytes32 nonce,bytes32 channel,uint32 epoch,bytes32 previous,RouteStage[] stages,bytes32 manifest,"
        "bytes32 profile,bytes32 sampler,bytes32 promptRoot,uint32 window,bytes32 auditPolicy,uint40 expiry",
    }
    message = {name: getattr(route, name) for name in ("nonce", "channel", "epoch", "previous", "manifest", "profile")}
    message |= {"sampler": route.sampler, "promptRoot": route.prompt_root, "window": route.window}
    message |= {"auditPolicy": route.audit_policy, "expiry": route.expiry}
    message["stages"] = [{"node": s.node, "start": s.start, "end": s.end, "ask": s.ask} for s in route.stages]

    assert route.digest(DOMAIN) == typed_message("Route", types, message)


def test_receipt_digest_is_standard() -> None:
    """A wallet that knows only EIP-712 signs the same receipt digest."""
    types = {
        "Receipt": "bytes32 route,uint32 stage,uint32 chunk,uint32 first,uint32 last,bytes32 previous,"
        "bytes32 inRoot,bytes32 kvRoot,bytes32 outRoot"
    }
    message = {name: getattr(RECEIPT, name) for name in ("route", "stage", "chunk", "first", "last", "previous")}
    message |= {"inRoot": RECEIPT.in_root, "kvRoot": RECEIPT.kv_root, "outRoot": RECEIPT.out_root}

    assert RECEIPT.digest(DOMAIN) == typed_message("Receipt", types, message)


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": b"x" * 32},
        {"channel": b"x" * 32},
        {"epoch": 4},
        {"previous": b"x" * 32},
        {"stages": (RouteStage(NODE, 0, 8, 10**12),)},
        {"manifest": b"x" * 32},
        {"profile": b"x" * 32},
        {"sampler": b"x" * 32},
        {"prompt_root": b"x" * 32},
        {"window": 17},
        {"audit_policy": b"x" * 32},
        {"expiry": 1_900_000_001},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_route_is_signed(change: dict[str, object]) -> None:
    """No field can be changed under a signature."""
    assert make_route(**change).digest(DOMAIN) != make_route().digest(DOMAIN)


@pytest.mark.parametrize("domain", [Domain(1, OTHER), Domain(31337, NODE), Domain(31337, OTHER, version="2")])
def test_a_signature_holds_in_one_domain(domain: Domain) -> None:
    """Chain, contract and version are part of every digest."""
    assert make_route().digest(domain) != make_route().digest(DOMAIN)


def test_integers_fit_their_type_or_are_refused() -> None:
    """The largest value of a type passes and one more does not."""
    assert uint_word("x", 2**96 - 1, 96) == bytes(20) + b"\xff" * 12
    for value in (2**96, -1, True, 1.0):
        with pytest.raises(MalformedRecord):
            uint_word("x", value, 96)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33), "0" * 32])
def test_hashes_have_32_bytes(value: bytes) -> None:
    """A shorter or longer hash would shift the fields that follow it."""
    with pytest.raises(MalformedRecord):
        bytes32_word("x", value)


def test_route_bounds_hold_at_the_limit_and_not_past_it() -> None:
    """Stages and window have limits."""
    stages = tuple(RouteStage(NODE, at, at + 1, 1) for at in range(MAX_STAGES))
    assert make_route(stages=stages, window=MAX_WINDOW_TOKENS).digest(DOMAIN)
    for change in (
        {"stages": ()},
        {"stages": (*stages, RouteStage(NODE, 256, 257, 1))},
        {"window": 0},
        {"window": MAX_WINDOW_TOKENS + 1},
        {"epoch": 2**32},
        {"expiry": 2**40},
    ):
        with pytest.raises(MalformedRecord):
            make_route(**change).digest(DOMAIN)


def test_two_receipts_contradict_only_in_one_slot() -> None:
    """Equivocation is one slot with two contents; the same receipt twice or another slot is none."""
    changed = Receipt(b"r" * 32, 1, 2, 16, 32, b"p" * 32, b"i" * 32, b"k" * 32, b"x" * 32)
    elsewhere = Receipt(b"r" * 32, 1, 3, 16, 32, b"p" * 32, b"i" * 32, b"k" * 32, b"x" * 32)

    assert contradict(RECEIPT, changed)
    assert not contradict(RECEIPT, RECEIPT)
    assert not contradict(RECEIPT, elsewhere)


@pytest.mark.parametrize(
    "value",
    ["", "0x", "70997970C51812dc3A010C7d01b50e0d17dc79C8", "0x" + "g" * 40, b"x" * 19, b"x" * 21, None, 5,
     "0x70997970C51812dc3A010C7d01b50e0d17dc79c8"],
)  # fmt: skip
def test_what_is_not_an_address_is_refused(value: object) -> None:
    """Wrong lengths, other types and a broken checksum are named."""
    with pytest.raises(MalformedAddress):
        to_address(value)  # type: ignore[arg-type]


def test_addresses_have_one_spelling() -> None:
    """Lower case, bytes and checksummed text all lead to the same words."""
    assert to_address(NODE.lower()) == to_address(bytes.fromhex(NODE[2:])) == NODE
    assert address_word(NODE.lower()) == address_word(NODE)
