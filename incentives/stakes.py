"""Nodes and what they stand behind: joining, announcing, leaving, and reading who is there."""

from dataclasses import dataclass

from incentives.chain_types import Chain, Event, Sent
from incentives.deployment import Deployment
from incentives.signing import Signer, check_signer, split_signature
from incentives.token import PermitUnsupported, Token
from verification.addresses import Address, to_address
from verification.typed_data import Domain, address_word, bytes32_word, struct_hash, typed_digest

_CONSENT_TYPE = "SignerConsent(address owner,bytes32 peer)"
STAKE_EVENTS = frozenset({"Joined", "Bonded", "ExitStarted", "ExitCancelled", "Withdrawn", "Slashed"})
"""Whatever changes a stake is told by one of these."""
NOBODY = to_address(bytes(20))


@dataclass(frozen=True, slots=True)
class StakeRecord:
    """What the contract keeps about a node; times in seconds since 1970, zero for never."""

    bonded: int
    signer: Address
    exiting: int
    exit_at: int
    joined_at: int


@dataclass(frozen=True, slots=True)
class Identity:
    """A node, the key its process signs with, and the hash of the key its TLS certificate shows."""

    node: Address
    signer: Address
    peer: bytes


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a node says it serves: blocks [start, end) of a model at `ask` per token and block. Nothing is checked."""

    node: Address
    manifest: bytes
    start: int
    end: int
    ask: int
    endpoint: str
    block: int
    log_index: int


@dataclass(frozen=True, slots=True)
class Consent:
    """A hot key's agreement to be the signer of one owner's node; made where the key is, used where the owner's is."""

    signer: Address
    owner: Address
    peer: bytes
    signature: bytes


def sign_consent(signer: Signer, domain: Domain, owner: str, peer: bytes) -> Consent:
    """Agree to sign for `owner`, behind the TLS key with that hash, in Stakes' domain. Raises: MalformedRecord."""
    digest = consent_digest(domain, owner, peer)
    return Consent(signer.address, to_address(owner), peer, signer.sign_digest(digest))


def consent_digest(domain: Domain, owner: str, peer: bytes) -> bytes:
    """What the hot key signs to join or to take over. Raises: MalformedRecord, MalformedAddress."""
    return typed_digest(domain, struct_hash(_CONSENT_TYPE, (address_word(owner), bytes32_word("peer", peer))))


class Stakes:
    """The Stakes contract of a deployment. Amounts in the token's smallest unit. Raises leaves of ChainError."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        self._chain, self.contract, self.domain = chain, deployment.contract("Stakes"), deployment.domain("Stakes")
        self._token = Token(chain, deployment)
        self._first_block = deployment.stakes.block
        self.minimum_stake = deployment.params.min_stake

    def join(self, owner: Signer, consent: Consent, amount: int) -> Sent:
        """Bond `amount` as a new node; approves it first where needed. Raises: InvalidSignature for a bad consent."""
        words = self._join_words(owner, consent, amount)
        self._token.ensure_allowance(owner, self.contract.address, amount)
        return self._chain.send(owner, self.contract, "join", *words)

    def join_with_permit(self, owner: Signer, consent: Consent, amount: int) -> Sent:
        """The same in one transaction, approved by signature; a token without permits is approved as `join` does."""
        words = self._join_words(owner, consent, amount)
        try:
            permit = self._token.sign_permit(owner, self.contract.address, amount)
        except PermitUnsupported:
            return self.join(owner, consent, amount)
        return self._chain.send(owner, self.contract, "joinWithPermit", *words, *permit.words)

    def _join_words(self, owner: Signer, consent: Consent, amount: int) -> tuple[int, Address, bytes, bytes, bytes]:
        # Checked here because the contract could only say that the signature is bad, after the approval was paid for.
        check_signer(consent_digest(self.domain, owner.address, consent.peer), consent.signature, consent.signer)
        return amount, consent.signer, consent.peer, *split_signature(consent.signature)

    def announce(
        self,
        signer: Signer,
        node: str,
        manifest: bytes,
        start: int,
        end: int,
        ask: int,
        endpoint: str,
        key: str | None = None,
    ) -> Sent:
        """Say what `node` serves; its owner and its signer may. Replaces the announcement before. `key` as Chain.send's."""
        words = (node, manifest, start, end, ask, endpoint)
        return self._chain.send(signer, self.contract, "announce", *words, key=key)

    def add_stake(self, owner: Signer, amount: int) -> Sent:
        """Add to the bond; approves the amount first where needed."""
        self._token.ensure_allowance(owner, self.contract.address, amount)
        return self._chain.send(owner, self.contract, "addStake", amount)

    def exit(self, owner: Signer, amount: int) -> Sent:
        """Start to take stake out; restarts the clock of what is leaving already."""
        return self._chain.send(owner, self.contract, "exit", amount)

    def cancel_exit(self, owner: Signer) -> Sent:
        """Bond again what is leaving."""
        return self._chain.send(owner, self.contract, "cancelExit")

    def withdraw(self, owner: Signer) -> Sent:
        """Pay out what has left, once its time has come."""
        return self._chain.send(owner, self.contract, "withdraw")

    def pay_out(self, sender: Signer, account: Address) -> Sent:
        """Send an account the finder's fees that it is owed. Anybody may. Raises: Reverted (NothingOwed)."""
        return self._chain.send(sender, self.contract, "payOut", account)

    def owed_to(self, account: Address) -> int:
        """What pay_out would send."""
        return int(self._chain.call(self.contract, "owedTo", account))

    def rotate(self, owner: Signer, consent: Consent) -> Sent:
        """Give the node another hot key, or another TLS key. Raises: InvalidSignature for a bad consent."""
        _, *words = self._join_words(owner, consent, 0)
        return self._chain.send(owner, self.contract, "rotate", *words)

    def stake_of(self, node: str) -> StakeRecord:
        """The present stake of a node; all zero for an account that never joined."""
        bonded, signer, exiting, exit_at, joined_at = self._chain.call(self.contract, "stakeOf", node)
        return StakeRecord(bonded, to_address(signer), exiting, exit_at, joined_at)

    def node_of(self, signer: str) -> Address | None:
        """The node that answers for a hot key, present or past; None for an unknown key."""
        node = to_address(self._chain.call(self.contract, "nodeOf", signer))
        return None if node == NOBODY else node

    def announcements(self, from_block: int | None = None) -> list[Announcement]:
        """The newest announcement of every node since a block (by default, since the deployment), oldest first."""
        newest = {event.args["node"]: event for event in self._events("Announced", from_block)}
        return sorted(map(announcement_of, newest.values()), key=lambda a: (a.block, a.log_index))

    def identities(self, from_block: int | None = None) -> dict[Address, Identity]:
        """The newest signer and peer of every node that joined or rotated since a block."""
        events = self._events("Joined", from_block) + self._events("SignerRotated", from_block)
        ordered = sorted(events, key=lambda event: (event.block, event.log_index))
        return {identity.node: identity for identity in map(identity_of, ordered)}

    def stakes_changed(self, from_block: int) -> dict[Address, int]:
        """The newest block of those since a block in which a node's stake changed, for each node whose did."""
        events = self._chain.all_events(self.contract, from_block)
        return {to_address(event.args["node"]): event.block for event in events if event.name in STAKE_EVENTS}

    def _events(self, name: str, from_block: int | None) -> list[Event]:
        return self._chain.events(self.contract, name, self._first_block if from_block is None else from_block)


def identity_of(event: Event) -> Identity:
    """What a Joined or a SignerRotated says."""
    args = event.args
    return Identity(to_address(args["node"]), to_address(args["signer"]), args["peer"])


def announcement_of(event: Event) -> Announcement:
    """What an Announced says."""
    args = event.args
    return Announcement(
        node=to_address(args["node"]),
        manifest=args["manifest"],
        start=args["start"],
        end=args["end"],
        ask=args["ask"],
        endpoint=args["endpoint"],
        block=event.block,
        log_index=event.log_index,
    )
