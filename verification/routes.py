"""The Route that a client signs and every stage on it accepts: the name of a slot is (route, stage, chunk).

Fields that later checks fill (previous route, audit policy) are signed from the start, so that no signature changes its meaning.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from sharding.exact.sampler import fixed_temperature, fixed_top_p
from sharding.hashing import keccak256
from sharding.merkle import merkle_root
from sharding.sampling import SamplingParams
from sharding.span import Span
from verification.addresses import Address
from verification.errors import MalformedRecord
from verification.typed_data import (
    Domain,
    address_word,
    array_word,
    bytes32_word,
    struct_hash,
    typed_digest,
    uint_word,
)

MAX_STAGES = 256
MAX_WINDOW_TOKENS = 4096
ZERO_HASH = bytes(32)
AUDIT_NONE = keccak256(b"tallystick.audit.none")
"""The policy of a route that nobody audits: less or no credit for reliability (rule 18)."""

_STAGE_TYPE = "RouteStage(address node,uint32 start,uint32 end,uint96 ask)"
_ROUTE_TYPE = (
    "Route(bytes32 nonce,bytes32 channel,uint32 epoch,bytes32 previous,RouteStage[] stages,bytes32 manifest,"
    "bytes32 profile,bytes32 sampler,bytes32 promptRoot,uint32 window,bytes32 auditPolicy,uint40 expiry)" + _STAGE_TYPE
)


@dataclass(frozen=True, slots=True)
class RouteStage:
    """One node's place on a route: the blocks [start, end) at `ask` units per token and block."""

    node: Address
    start: int
    end: int
    ask: int

    @property
    def span(self) -> Span:
        """The blocks of this stage. Raises: sharding.errors.SpanError when they are not a span."""
        return Span(self.start, self.end)

    def struct_hash(self) -> bytes:
        """The EIP-712 hash of this stage."""
        words = (
            address_word(self.node),
            uint_word("start", self.start, 32),
            uint_word("end", self.end, 32),
            uint_word("ask", self.ask, 96),
        )
        return struct_hash(_STAGE_TYPE, words)


@dataclass(frozen=True, slots=True)
class Route:
    """What one run of a session is: who computes which blocks of which model, how it is sampled, paid and until when."""

    nonce: bytes
    channel: bytes
    epoch: int
    previous: bytes
    stages: tuple[RouteStage, ...]
    manifest: bytes
    profile: bytes
    sampler: bytes
    prompt_root: bytes
    window: int
    """Credit W: tokens that a stage works past the last voucher on its disk."""
    audit_policy: bytes
    expiry: int
    """Seconds since 1970, by the chain's clock."""

    def struct_hash(self) -> bytes:
        """The EIP-712 hash. Raises: MalformedRecord, MalformedAddress."""
        if not 1 <= len(self.stages) <= MAX_STAGES:
            raise MalformedRecord("stages", f"a route has 1 to {MAX_STAGES} stages, not {len(self.stages)}")
        if not 1 <= self.window <= MAX_WINDOW_TOKENS:
            raise MalformedRecord("window", f"a window has 1 to {MAX_WINDOW_TOKENS} tokens, not {self.window}")
        return struct_hash(_ROUTE_TYPE, self._words())

    def _words(self) -> tuple[bytes, ...]:
        return (
            bytes32_word("nonce", self.nonce),
            bytes32_word("channel", self.channel),
            uint_word("epoch", self.epoch, 32),
            bytes32_word("previous", self.previous),
            array_word([stage.struct_hash() for stage in self.stages]),
            bytes32_word("manifest", self.manifest),
            bytes32_word("profile", self.profile),
            bytes32_word("sampler", self.sampler),
            bytes32_word("prompt_root", self.prompt_root),
            uint_word("window", self.window, 32),
            bytes32_word("audit_policy", self.audit_policy),
            uint_word("expiry", self.expiry, 40),
        )

    def digest(self, domain: Domain) -> bytes:
        """What the client and every stage sign; also the route's name."""
        return typed_digest(domain, self.struct_hash())


def profile_id(profile: str) -> bytes:
    """The 32-byte id of a numeric profile's name."""
    return keccak256(b"tallystick.profile." + profile.encode())


def sampler_commitment(params: SamplingParams) -> bytes:
    """Commit to how tokens are drawn, the seed included, before the first one is."""
    opening = sampler_opening(params)
    seed_commitment = keccak256(b"tallystick.seed" + opening[-8:])
    return keccak256(b"tallystick.sampler" + opening[:-8] + seed_commitment)


def sampler_opening(params: SamplingParams) -> bytes:
    """What the commitment is made of, for a dispute about a token: 40 bytes, the last eight of them the seed.

    The doubles are the client's, tau and pi the integers that SPEC.md makes of them: a contract reads those.
    """
    body = struct.pack(">dId", params.temperature, params.top_k, params.top_p)
    tau = fixed_temperature(params) if params.temperature > 0 else 0
    return body + struct.pack(">QIQ", tau, fixed_top_p(params), params.seed)


def prompt_root(salt: bytes, tokens: Sequence[int]) -> bytes:
    """Merkle root over the prompt's tokens, each leaf salted by position so that short prompts cannot be guessed."""
    return merkle_root([_token_leaf(salt, position, token) for position, token in enumerate(tokens)])


def _token_leaf(salt: bytes, position: int, token: int) -> bytes:
    mask = keccak256(salt + position.to_bytes(4, "big"))
    return mask + token.to_bytes(4, "big")
