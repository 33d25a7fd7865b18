"""A record, and its digest by a library that knows only EIP-712."""

from eth_account.messages import encode_typed_data

from sharding.hashing import keccak256
from sharding.placement_values import Phase
from sharding.span import Span
from verification.addresses import to_address
from verification.node_records import ServedSpan, ServiceRecord
from verification.placement_claims import PlacementClaim
from verification.routes import profile_id
from verification.typed_data import Domain

NODE = to_address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
OTHER = to_address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
DOMAIN = Domain(31337, OTHER)
SPAN = ServedSpan(0, 4, 10**12, 12_500)
RECORD = ServiceRecord(
    node=NODE, sequence=7, issued=1_900_000_000, expires=1_900_000_030, peer=b"p" * 32, endpoint="wss://node.test:1/v1/stream",
    manifest=b"m" * 32, profile=profile_id("exact-1"), spans=(SPAN, ServedSpan(4, 8, 2**96 - 1, 1)),
    queue=3, free_pages=400, draining=False,
)  # fmt: skip
RECORD_FIELDS = (
    "address node,uint64 sequence,uint40 issued,uint40 expires,bytes32 peer,string endpoint,bytes32 manifest,bytes32 profile,"
    "ServedSpan[] spans,uint32 queue,uint32 freePages,bool draining,Placement placement"
)
SPAN_FIELDS = "uint32 start,uint32 end,uint96 ask,uint32 rate"
PLACEMENT_FIELDS = (
    "uint64 capacity,uint64 blockRate,uint8 phase,uint64 since,BlockSpan[] give,BlockSpan[] take,uint32 closes"
)
MOVING = PlacementClaim(2**30, 5_000, Phase.DRAINING, 1_900_000_000_000, (Span(0, 2),), (Span(4, 6), Span(7, 8)), 1)


def members(fields: str) -> list[dict[str, str]]:
    """The members of a type as eth-account wants them."""
    return [dict(zip(("type", "name"), field.split(), strict=True)) for field in fields.split(",")]


def wallet_digest(record: ServiceRecord) -> bytes:
    """The digest by eth-account."""
    domain_fields = "string name,string version,uint256 chainId,address verifyingContract"
    types = {
        "EIP712Domain": members(domain_fields),
        "ServiceRecord": members(RECORD_FIELDS),
        "ServedSpan": members(SPAN_FIELDS),
        "Placement": members(PLACEMENT_FIELDS),
        "BlockSpan": members("uint32 start,uint32 end"),
    }
    names = ("node", "sequence", "issued", "expires", "peer", "endpoint", "manifest", "profile", "queue", "draining")
    message = {name: getattr(record, name) for name in names} | {"freePages": record.free_pages}
    message["spans"] = [{"start": s.start, "end": s.end, "ask": s.ask, "rate": s.rate} for s in record.spans]
    claim = record.placement
    message["placement"] = {
        "capacity": claim.capacity, "blockRate": claim.block_rate, "phase": list(Phase).index(claim.phase),
        "since": claim.since, "closes": claim.closes,
        "give": [{"start": each.start, "end": each.end} for each in claim.give],
        "take": [{"start": each.start, "end": each.end} for each in claim.take],
    }  # fmt: skip
    domain = {"name": "Tallystick", "version": "1", "chainId": 31337, "verifyingContract": OTHER}
    signable = encode_typed_data(
        full_message={"types": types, "primaryType": "ServiceRecord", "domain": domain, "message": message}
    )
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)


def apart(count: int, start: int = 0) -> tuple[Span, ...]:
    """One block each with one between them."""
    return tuple(Span(start + 2 * at, start + 2 * at + 1) for at in range(count))
