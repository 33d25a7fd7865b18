"""Several nodes that keep the scores on one chain, looked at one after the other; time passes by blocks."""

from dataclasses import dataclass, field, replace

from incentives.channels import Channels
from incentives.deploy import deploy_suite
from incentives.deployment import LOCAL_TESTNET, Deployment
from incentives.epochs import Clocks
from incentives.payees import POOL_BPS, Payee, payee_words, payees_hash
from incentives.signing import LocalSigner
from incentives.stakes import Stakes, sign_consent
from incentives.token import Token
from incentives.units import ONE
from incentives.vouchers import ChannelKey, sign_voucher
from node.epoch_duty import ChainClock, DutyDone, EpochDuty
from node.ledger import HeldChannel
from node.network import Network, from_deployment
from sharding.hashing import keccak256
from tests.conftest import ask
from tests.incentives.suite import PEER

CLOCKS = Clocks(epoch=400, exclusive=50, posting=200, activation=60, response=40, half_life=5_600)
PARAMS = replace(LOCAL_TESTNET, min_stake=100 * ONE, unbonding_s=1_000, close_delay_s=600, clocks=CLOCKS)
CLIENT = LocalSigner.dev_account(8, 31337)


@dataclass
class Held:
    """A node's ledger, as far as the scores ask."""

    channels: list[HeldChannel] = field(default_factory=list)

    def all_held(self) -> list[HeldChannel]:
        return list(self.channels)


@dataclass
class DutyNode:
    """One node: its owner's account, its key, what it holds, and its duty."""

    owner: LocalSigner
    signer: LocalSigner
    held: Held
    duty: EpochDuty

    def look(self) -> list[str]:
        return [done.act for done in self.duty.look()]

    def look_if_new(self) -> list[str]:
        return [done.act for done in self.duty.look_if_new()]


@dataclass
class DutyNet:
    """The chain, and its nodes."""

    url: str
    network: Network
    nodes: list[DutyNode]

    def at(self, seconds_after: int, epoch: int) -> None:
        """So long after the end of an epoch."""
        history = self.nodes[0].duty.history
        ask(self.url, "evm_setNextBlockTimestamp", history.end_of(epoch) + seconds_after)
        ask(self.url, "evm_mine")

    @property
    def epoch(self) -> int:
        history = self.nodes[0].duty.history
        return history.epoch_at(self.network.chain.head().timestamp)

    def look(self, *but: DutyNode) -> dict[int, list[str]]:
        """Every node looks once; what each has done."""
        return {place: node.look() for place, node in enumerate(self.nodes) if node not in but}

    def as_new(self) -> "DutyNet":
        """The same nodes before they have done anything."""
        for place, node in enumerate(self.nodes):
            node.held.channels.clear()
            self.restarted(place)
        return self

    def restarted(self, place: int, clock: ChainClock | None = None) -> DutyNode:
        """The node's process begins anew, with what is on its disk. Time passes by blocks only if there is no clock."""
        old = self.nodes[place]
        duty = _duty(self.network, old.held, old.signer, old.owner, clock)
        self.nodes[place] = replace(old, duty=duty)
        return self.nodes[place]

    def stake(self, node: DutyNode) -> int:
        return self.network.stakes.stake_of(node.owner.address).bonded

    def pay(self, node: DutyNode, amount: int, salt: bytes = bytes(32), pool: int = POOL_BPS) -> HeldChannel:
        """A client's channel with the node and the audit pool, of which so much is settled."""
        channels = self.network.channels
        shares = [Payee(node.owner.address, 10_000 - pool)]
        shares += [Payee(self.network.pool, pool)] if pool else []
        payees = tuple(shares)
        key = ChannelKey(CLIENT.address, CLIENT.address, payees_hash(payees), salt)
        channels.deposit_and_open(CLIENT, key, amount)
        signed = sign_voucher(CLIENT, channels.domain, key, amount, keccak256(b"work"))
        channels.settle(CLIENT, signed)
        held = HeldChannel(key, key.id(channels.domain), payee_words(payees), 0, amount, amount, signed)
        node.held.channels.append(held)
        return held


def _duty(
    network: Network, held: Held, signer: LocalSigner, owner: LocalSigner, clock: ChainClock | None = None
) -> EpochDuty:
    frozen = ChainClock(lambda: 0.0)
    return EpochDuty(network, held, signer, owner.address, clock or frozen)  # type: ignore[arg-type]


def bring_up(url: str, count: int = 3) -> DutyNet:
    """Deploy, and have so many nodes join with keys that have gas and money for bonds."""
    from incentives.chain import Web3Chain

    chain, bank = Web3Chain(url, expected_chain_id=31337), LocalSigner.dev_account(0, 31337)
    deployment: Deployment = deploy_suite(chain, bank, PARAMS)
    network = from_deployment(chain, deployment)
    token, stakes = Token(chain, deployment), Stakes(chain, deployment)
    token.transfer(bank, CLIENT.address, 10_000 * ONE)
    nodes = []
    for place in range(1, count + 1):
        owner = LocalSigner.dev_account(place, 31337)
        signer = LocalSigner(keccak256(b"hot" + bytes([place])))
        token.transfer(bank, owner.address, 1_000 * ONE)
        token.transfer(bank, signer.address, 10 * ONE)
        chain.transfer_native(bank, signer.address, 10**18)
        stakes.join(owner, sign_consent(signer, stakes.domain, owner.address, PEER), (100 + 100 * place) * ONE)
        held = Held()
        nodes.append(DutyNode(owner, signer, held, _duty(network, held, signer, owner)))
    return DutyNet(url, network, nodes)


__all__ = ["CLIENT", "CLOCKS", "Channels", "DutyDone", "DutyNet", "DutyNode", "bring_up"]
