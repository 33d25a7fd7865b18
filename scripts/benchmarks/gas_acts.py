"""Whole-transaction gas of what nodes and clients do most. `*_first` writes its records for the first time ever."""

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from incentives.chain import Web3Chain
from incentives.channels import Channels, PotShare
from incentives.court import Court
from incentives.deploy import LOCAL_TESTNET, deploy_suite
from incentives.deployment import Deployment
from incentives.disputes import Disputes
from incentives.payees import Payee, payees_for, payees_hash
from incentives.signing import LocalSigner
from incentives.stakes import NOBODY, Stakes, sign_consent
from incentives.token import Token
from incentives.units import ONE
from incentives.vouchers import ChannelKey, Release, SignedVoucher, sign_voucher
from verification.addresses import Address
from verification.receipts import Receipt

from .gas_disputes import Parties, dispute, withheld
from .gas_scores import ScoreActs

PEER = bytes(range(32))
WORK = bytes(range(32, 64))
PARAMS = replace(LOCAL_TESTNET, unbonding_s=10_000, answer_s=600, proof_s=600, descent_s=600)
"""Clocks that no slow machine runs out."""
PROBATION_S = 30 * 86_400
"""As the Court has it: a fault that comes later is slashed as a first one."""
UNLIMITED = 2**256 - 1
STAKE = 1_000 * ONE
ROUTES, SESSIONS_PER_ROUTE = 10, 10
PARAMS = replace(LOCAL_TESTNET, maturity_s=86_400)
"""A window of a day: none begins by itself meanwhile."""
APPROVING = range(1, 6)
"""Accounts with money and standing approvals, as a client or node in service has them; 6 has neither, 7 to 9 sign."""


@dataclass(frozen=True)
class GasWorld:
    """A fresh deployment and those who use it."""

    url: str
    chain: Web3Chain
    deployment: Deployment
    stakes: Stakes
    channels: Channels
    court: Court
    disputes: Disputes
    token: Token

    @classmethod
    def deploy(cls, url: str) -> "GasWorld":
        """Deploy on a fresh local chain, and give accounts their money."""
        chain = Web3Chain(url)
        deployer = LocalSigner.dev_account(0, chain.chain_id)
        deployment = deploy_suite(chain, deployer, PARAMS)
        parts = (
            Stakes(chain, deployment),
            Channels(chain, deployment),
            Court(chain, deployment),
            Disputes(chain, deployment),
            Token(chain, deployment),
        )
        world = cls(url, chain, deployment, *parts)
        for index in (*APPROVING, 6):
            world.token.transfer(deployer, world.account(index).address, 100_000 * ONE)
        for index in APPROVING:
            for spender in (world.stakes.contract.address, world.channels.contract.address):
                world.token.approve(world.account(index), spender, UNLIMITED)
        return world

    def account(self, index: int) -> LocalSigner:
        return LocalSigner.dev_account(index, self.chain.chain_id)

    def pass_time(self, seconds: int) -> None:
        for method, params in (("evm_increaseTime", [seconds]), ("evm_mine", [])):
            self._ask(method, params)

    def at(self, timestamp: int) -> None:
        """The next block is of this second."""
        self._ask("evm_setNextBlockTimestamp", [timestamp])

    def ripen(self) -> None:
        """All that is settled by now can be collected."""
        self.pass_time(2 * PARAMS.maturity_s)

    def _ask(self, method: str, params: Sequence[Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            answer.read()


def measure_gas(url: str, *, batches: bool = True) -> dict[str, int]:
    """Deploy on a fresh local chain and measure. The batches take two hundred transactions: seconds, or a minute if embedded."""
    world = GasWorld.deploy(url)
    used = _staking(world) | _disputing(world) | _paying(world) | _releasing(world) | _scoring(world)
    return used | (_settling_many(world) if batches else {})


def _staking(world: GasWorld) -> dict[str, int]:
    used = {}
    owner, newcomer, signers = world.account(1), world.account(6), [world.account(index) for index in (7, 8)]
    _join(world, world.account(2), world.account(9))  # from here on the contract's own balance exists
    for again in ("_first", ""):
        for node, signer in ((owner, signers[0]), (newcomer, signers[1])):
            used[f"join{again}" if node is owner else f"join_permit{again}"] = _join(world, node, signer)
        if again:
            for node in (owner, newcomer):
                world.stakes.exit(node, STAKE)
            world.pass_time(PARAMS.unbonding_s + 1)
            for node in (owner, newcomer):
                world.stakes.withdraw(node)
    announcement = (owner.address, PEER, 0, 4, 10**12, "wss://node.example:7100")
    used["announce"] = world.stakes.announce(signers[0], *announcement).gas_used
    for again, signer in zip(("_first", ""), signers, strict=True):
        used[f"equivocation_slash{again}"] = _equivocate(world, signer)
    for again in ("_first", ""):
        _join(world, owner, signers[0])
        used[f"equivocation_slash_paid{again}"] = _equivocate(world, signers[0], world.account(3).address)
    return used


def _disputing(world: GasWorld) -> dict[str, int]:
    """Two by one challenger against one node, the probation between them: the second finds every record there."""
    owner, key, challenger = world.account(1), world.account(7), world.account(3)
    _join(world, owner, key)
    world.disputes.deposit(challenger, 100 * ONE)
    used = {}
    for again in ("_first", ""):
        parties = Parties(owner, key, challenger, world.chain.head().timestamp + 10_000)
        spent = dispute(world.disputes, world.deployment.contract("Models"), world.chain, parties, len(again))
        used |= {f"{name}{again}": gas for name, gas in spent.items()}
        used[f"dispute_honest{again}"] = sum(spent.values())
        world.pass_time(PROBATION_S + 1)
    parties = replace(parties, expiry=world.chain.head().timestamp + 10_000)
    fought = withheld(world.disputes, world.deployment.contract("Models"), world.chain, parties, 2)
    used |= {"dispute_withheld": sum(fought), "dispute_withheld_transactions": len(fought)}
    return used | {"dispute_transactions": len(spent)}


def _scoring(world: GasWorld) -> dict[str, int]:
    acts = ScoreActs(world.chain, world.deployment, world.account(2), world.account(3), world.account(4), world.at)
    return acts.by_root() | acts.claims() | acts.fraud_proof() | acts.directly()


def _join(world: GasWorld, owner: LocalSigner, signer: LocalSigner) -> int:
    consent = sign_consent(signer, world.stakes.domain, owner.address, PEER)
    if world.token.allowance(owner.address, world.stakes.contract.address):
        return world.stakes.join(owner, consent, STAKE).gas_used
    return world.stakes.join_with_permit(owner, consent, STAKE).gas_used


def _equivocate(world: GasWorld, signer: LocalSigner, finder: Address = NOBODY) -> int:
    """With a finder, its fee is credited; its commitment is a transaction of its own."""
    receipts = [Receipt(PEER, 1, 2, 32, 48, PEER, PEER, PEER, root) for root in (PEER, WORK)]
    signed = [(each, signer.sign_digest(each.digest(world.court.domain))) for each in receipts]
    if finder != NOBODY:
        world.court.commit(world.account(3), world.court.evidence_commitment(finder, *receipts))
        world.pass_time(1)
    return world.court.prove_equivocation(world.account(3), *signed[0], *signed[1], finder).gas_used


def _paying(world: GasWorld) -> dict[str, int]:
    used: dict[str, int] = {}
    client, sender = world.account(4), world.account(6)
    world.channels.deposit(world.account(5), ONE)  # from here on the contract's own balance exists
    world.channels.deposit(client, 1_000 * ONE)
    for stages in (4, 32):
        payees = _payees(range(stages))
        key = _key(client, payees, 0)
        used["fund_open"] = world.channels.deposit_and_open(client, key, 10 * ONE).gas_used
        used["open"] = world.channels.open(client, _key(client, payees, 1), 10 * ONE).gas_used
        for again, part in (("_first", 1), ("", 2), ("_window_first", 3)):
            if part == 3:
                world.ripen()
            voucher = _voucher(world, client, key, part * ONE)
            used[f"settle_{stages}{again}"] = world.channels.settle(sender, voucher).gas_used
        if stages == 4:
            world.ripen()
            used["collect_first"] = world.channels.collect(sender, payees, 0).gas_used
            world.channels.settle(sender, _voucher(world, client, key, 4 * ONE))
            world.ripen()
            used["collect"] = world.channels.collect(sender, payees, 0).gas_used
    return used


def _releasing(world: GasWorld) -> dict[str, int]:
    """A channel of four payees, each of which signs."""
    client, nodes = world.account(4), [world.account(index) for index in (1, 2, 3, 5)]
    payees = payees_for([(node.address, 1) for node in nodes])
    key = _key(client, payees, 0)
    world.channels.open(client, key, ONE)
    release = Release(key.id(world.channels.domain), 0, 2**40 - 1)
    consents = [node.sign_digest(release.digest(world.channels.domain)) for node in nodes]
    return {"release_4": world.channels.release(client, key, payees, release, consents).gas_used}


def _settling_many(world: GasWorld) -> dict[str, int]:
    """Ten channels on each of ten routes with one node in common: with empty pots, in a later window, and once more in it."""
    client, sender, used = world.account(4), world.account(6), {}
    routes = [_payees((0, *range(3 * route, 3 * route + 3))) for route in range(1, ROUTES + 1)]
    keys = [_key(client, payees, 2 + place) for payees in routes for place in range(SESSIONS_PER_ROUTE)]
    for key in keys:
        world.channels.open(client, key, ONE)
    for again, amount in (("_first", ONE // 3), ("_window_first", ONE // 2), ("", ONE // 4 * 3)):
        vouchers = [_voucher(world, client, key, amount) for key in keys]
        used[f"settle_100_on_10_routes{again}"] = world.channels.settle_many(sender, vouchers).gas_used
        if again == "_window_first":
            continue
        shares = [PotShare(payees, (0,)) for payees in routes]
        world.ripen()
        used[f"collect_10_routes{again}"] = world.channels.collect_many(
            sender, shares[0].payees[0].node, shares
        ).gas_used
    return used


def _key(client: LocalSigner, payees: tuple[Payee, ...], salt: int) -> ChannelKey:
    """The salt is all digits, as a random one is: zero bytes are cheaper."""
    return ChannelKey(client.address, client.address, payees_hash(payees), bytes(range(salt + 1, salt + 33)))


def _voucher(world: GasWorld, client: LocalSigner, key: ChannelKey, cumulative: int) -> SignedVoucher:
    return sign_voucher(client, world.channels.domain, key, cumulative, WORK)


def _payees(nodes: Sequence[int]) -> tuple[Payee, ...]:
    return payees_for([(Address("0x" + (0x1000 + index).to_bytes(20, "big").hex()), 1) for index in nodes])
