"""The Receipt that a stage signs for one slot of its work, and the one contradiction that two of them can prove."""

from dataclasses import dataclass

from verification.typed_data import Domain, bytes32_word, struct_hash, typed_digest, uint_word

_RECEIPT_TYPE = (
    "Receipt(bytes32 route,uint32 stage,uint32 chunk,uint32 first,uint32 last,bytes32 previous,"
    "bytes32 inRoot,bytes32 kvRoot,bytes32 outRoot)"
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One stage's signed statement about the positions [first, last) of one chunk."""

    route: bytes
    stage: int
    chunk: int
    first: int
    last: int
    previous: bytes
    """Struct hash of the preceding stage's receipt; zero on the first stage."""
    in_root: bytes
    kv_root: bytes
    out_root: bytes

    def struct_hash(self) -> bytes:
        """The EIP-712 hash. Raises: MalformedRecord."""
        words = (
            bytes32_word("route", self.route),
            uint_word("stage", self.stage, 32),
            uint_word("chunk", self.chunk, 32),
            uint_word("first", self.first, 32),
            uint_word("last", self.last, 32),
            bytes32_word("previous", self.previous),
            bytes32_word("in_root", self.in_root),
            bytes32_word("kv_root", self.kv_root),
            bytes32_word("out_root", self.out_root),
        )
        return struct_hash(_RECEIPT_TYPE, words)

    def digest(self, domain: Domain) -> bytes:
        """What the stage's node key signs."""
        return typed_digest(domain, self.struct_hash())


def contradict(left: Receipt, right: Receipt) -> bool:
    """Whether one signer of both receipts has said two things about one slot: the Court's test for equivocation."""
    same_slot = (left.route, left.stage, left.chunk) == (right.route, right.stage, right.chunk)
    return same_slot and left.struct_hash() != right.struct_hash()
