"""Money that lies ready for bonds in a contract that judges: contracts/src/lib/Funds.sol."""

from incentives.chain_types import Chain, Sent
from incentives.deployment import Deployment
from incentives.signing import Signer
from incentives.token import Token


class Bonded:
    """A contract of a deployment that takes bonds. domain: what receipts and routes are signed for."""

    def __init__(self, chain: Chain, deployment: Deployment, name: str) -> None:
        self._chain, self.contract, self.domain = chain, deployment.contract(name), deployment.domain("Court")
        self._token = Token(chain, deployment)

    def deposit(self, sender: Signer, amount: int) -> Sent:
        """Bring money for bonds; approves it first where needed."""
        self._token.ensure_allowance(sender, self.contract.address, amount)
        return self._chain.send(sender, self.contract, "deposit", amount)

    def withdraw(self, sender: Signer, amount: int) -> Sent:
        """Take back what no bond holds. Raises: Reverted (BondShort)."""
        return self._chain.send(sender, self.contract, "withdraw", amount)
