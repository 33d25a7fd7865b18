"""Bringing proofs of guilt before the Court contract."""

from typing import TYPE_CHECKING

from incentives.chain_types import Chain, Sent
from incentives.deployment import Deployment
from incentives.signing import Signer, split_signature
from incentives.stakes import NOBODY
from sharding.hashing import keccak256
from verification.addresses import Address
from verification.receipts import Receipt
from verification.typed_data import address_word

if TYPE_CHECKING:
    from verification.routes import Route  # torch comes with it, and whoever only reads the chain needs none


class Court:
    """The Court contract of a deployment."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        self._chain, self.contract, self.domain = chain, deployment.contract("Court"), deployment.domain("Court")

    def prove_equivocation(
        self,
        sender: Signer,
        left: Receipt,
        left_signature: bytes,
        right: Receipt,
        right_signature: bytes,
        finder: Address = NOBODY,
    ) -> Sent:
        """Show two receipts by one key for one slot that differ; its node loses its whole stake. Anybody may.

        finder: who has committed to evidence_commitment(left, right) and gets the fee.
        Raises: Reverted (NotEquivocation, SignerUnknown, NothingToSlash, SignatureInvalid, CommitmentNotRipe), InvalidSignature.
        """
        first = (receipt_words(left), *split_signature(left_signature))
        second = (receipt_words(right), *split_signature(right_signature))
        return self._chain.send(sender, self.contract, "proveEquivocation", *first, *second, finder)

    def convict_of_equivocation(
        self, sender: Signer, left: Receipt, left_signature: bytes, right: Receipt, right_signature: bytes
    ) -> Sent:
        """By the same proof, also after the slash: clients of the receipts' route can have refunded what they paid the node.

        Raises: Reverted (NotEquivocation, SignerUnknown, NodeConvicted, SignatureInvalid), InvalidSignature.
        """
        first = (receipt_words(left), *split_signature(left_signature))
        second = (receipt_words(right), *split_signature(right_signature))
        return self._chain.send(sender, self.contract, "convictOfEquivocation", *first, *second)

    def convict_of_broken_link(self, sender: Signer, before: Receipt, after: Receipt, signature: bytes) -> Sent:
        """The same for a broken link.

        Raises: Reverted (NotBrokenLink, SignerUnknown, NodeConvicted, SignatureInvalid), InvalidSignature.
        """
        proof = (receipt_words(before), receipt_words(after), *split_signature(signature))
        return self._chain.send(sender, self.contract, "convictOfBrokenLink", *proof)

    def prove_broken_link(
        self, sender: Signer, before: Receipt, after: Receipt, signature: bytes, finder: Address = NOBODY
    ) -> Sent:
        """Show a signed receipt that embeds the hash of another one which cannot come before it. Anybody may.

        finder: who has committed to evidence_commitment(before, after) and gets the fee.
        Raises: Reverted (NotBrokenLink, SignerUnknown, NothingToSlash, SignatureInvalid, CommitmentNotRipe), InvalidSignature.
        """
        proof = (receipt_words(before), receipt_words(after), *split_signature(signature))
        return self._chain.send(sender, self.contract, "proveBrokenLink", *proof, finder)

    def commit(self, sender: Signer, commitment: bytes) -> Sent:
        """Say that one knows a fault, without saying which. Raises: Reverted (CommitmentKnown)."""
        return self._chain.send(sender, self.contract, "commit", commitment)

    def evidence_commitment(self, finder: Address, one: Receipt, other: Receipt) -> bytes:
        """What a finder commits to, at least one second before the proof and at most a day. The order is the proof's."""
        evidence = keccak256(one.digest(self.domain) + other.digest(self.domain))
        return keccak256(address_word(finder) + evidence)


def receipt_words(receipt: Receipt) -> tuple[bytes, int, int, int, int, bytes, bytes, bytes, bytes]:
    span = receipt.first, receipt.last
    roots = receipt.in_root, receipt.kv_root, receipt.out_root
    return receipt.route, receipt.stage, receipt.chunk, *span, receipt.previous, *roots


def route_words(route: "Route") -> tuple[object, ...]:
    """As RouteTerms."""
    stages = [stage.struct_hash() for stage in route.stages]
    head = route.nonce, route.channel, route.epoch, route.previous, stages, route.manifest, route.profile
    return *head, route.sampler, route.prompt_root, route.window, route.audit_policy, route.expiry
