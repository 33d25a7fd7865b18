"""The ERC-20 token that stakes and channels are kept in, and its signed approvals (EIP-2612)."""

from dataclasses import dataclass

from incentives.chain_types import Chain, Sent
from incentives.deployment import Deployment
from incentives.errors import ChainError, ChainUnavailable, IncentivesError
from incentives.signing import Signer, split_signature
from verification.addresses import Address
from verification.typed_data import Domain, address_word, struct_hash, typed_digest, uint_word

PERMIT_VALID_S = 60 * 60
_PERMIT_TYPE = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"


class PermitUnsupported(IncentivesError):
    """The token cannot be approved by signature."""

    def __init__(self, token: str) -> None:
        super().__init__(f"token {token} has no EIP-2612 permits with a known domain: approve in a transaction instead")
        self.token = token


@dataclass(frozen=True, slots=True)
class Permit:
    """A signed approval: `deadline` in seconds since 1970 of the chain's clock, and the signature in its long form."""

    deadline: int
    v: int
    r: bytes
    s: bytes

    @property
    def words(self) -> tuple[int, int, bytes, bytes]:
        """The fields in the order of the contracts."""
        return self.deadline, self.v, self.r, self.s


class Token:
    """The token of a deployment. Amounts are in its smallest unit. Everything raises leaves of ChainError."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        self._chain, self.contract = chain, deployment.contract("Token")
        self._domain: Domain | None = None

    @property
    def address(self) -> Address:
        """Where the token is."""
        return self.contract.address

    def total_supply(self) -> int:
        """All tokens there are."""
        return int(self._chain.call(self.contract, "totalSupply"))

    def balance_of(self, account: str) -> int:
        """What an account has."""
        return int(self._chain.call(self.contract, "balanceOf", account))

    def allowance(self, owner: str, spender: str) -> int:
        """What `spender` may still take from `owner`."""
        return int(self._chain.call(self.contract, "allowance", owner, spender))

    def transfer(self, signer: Signer, to: str, amount: int) -> Sent:
        """Pay."""
        return self._chain.send(signer, self.contract, "transfer", to, amount)

    def approve(self, signer: Signer, spender: str, amount: int) -> Sent:
        """Let `spender` take up to `amount`; replaces what it was allowed before."""
        return self._chain.send(signer, self.contract, "approve", spender, amount)

    def ensure_allowance(self, signer: Signer, spender: str, amount: int) -> None:
        """Approve `amount`, unless as much is allowed already."""
        if self.allowance(signer.address, spender) < amount:
            self.approve(signer, spender, amount)

    def permit_domain(self) -> Domain:
        """The token's EIP-712 domain, proven by its own separator. Raises: PermitUnsupported, ChainUnavailable."""
        if self._domain is None:
            try:
                self._domain = self._read_domain()
            except ChainUnavailable:
                raise
            except ChainError as error:  # no such function: a token without permits
                raise PermitUnsupported(self.address) from error
        return self._domain

    def _read_domain(self) -> Domain:
        name = str(self._chain.call(self.contract, "name"))
        version = str(self._chain.call(self.contract, "version"))
        domain = Domain(self._chain.chain_id, self.address, name, version)
        if domain.separator != self._chain.call(self.contract, "DOMAIN_SEPARATOR"):
            raise PermitUnsupported(self.address)
        return domain

    def permit_digest(self, owner: str, spender: str, amount: int, nonce: int, deadline: int) -> bytes:
        """What `owner` signs. Source: https://eips.ethereum.org/EIPS/eip-2612. Raises: PermitUnsupported."""
        words = (
            address_word(owner),
            address_word(spender),
            uint_word("value", amount, 256),
            uint_word("nonce", nonce, 256),
            uint_word("deadline", deadline, 256),
        )
        return typed_digest(self.permit_domain(), struct_hash(_PERMIT_TYPE, words))

    def sign_permit(self, signer: Signer, spender: str, amount: int, deadline: int | None = None) -> Permit:
        """Approve `amount` by signature; without a deadline, for one hour. Raises: PermitUnsupported, ChainError."""
        self.permit_domain()  # first: a token without permits has no nonces to ask for either
        nonce = int(self._chain.call(self.contract, "nonces", signer.address))
        until = deadline if deadline is not None else self._chain.head().timestamp + PERMIT_VALID_S
        digest = self.permit_digest(signer.address, spender, amount, nonce, until)
        r, vs = split_signature(signer.sign_digest(digest))
        parity, s = vs[0] >> 7, bytes([vs[0] & 0x7F]) + vs[1:]
        return Permit(until, 27 + parity, r, s)
