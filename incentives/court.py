"""Bringing proofs of guilt before the Court contract."""

from incentives.chain_types import Chain, Sent
from incentives.deployment import Deployment
from incentives.signing import Signer, split_signature
from verification.receipts import Receipt


class Court:
    """The Court contract of a deployment."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        self._chain, self.contract, self.domain = chain, deployment.contract("Court"), deployment.domain("Court")

    def prove_equivocation(
        self, sender: Signer, left: Receipt, left_signature: bytes, right: Receipt, right_signature: bytes
    ) -> Sent:
        """Show two receipts by one key for one slot that differ; its node loses its whole stake. Anybody may.

        Raises: Reverted (NotEquivocation, SignerUnknown, NothingToSlash, SignatureInvalid), InvalidSignature.
        """
        first = (_words(left), *split_signature(left_signature))
        second = (_words(right), *split_signature(right_signature))
        return self._chain.send(sender, self.contract, "proveEquivocation", *first, *second)


def _words(receipt: Receipt) -> tuple[bytes, int, int, int, int, bytes, bytes, bytes, bytes]:
    span = receipt.first, receipt.last
    roots = receipt.in_root, receipt.kv_root, receipt.out_root
    return receipt.route, receipt.stage, receipt.chunk, *span, receipt.previous, *roots
