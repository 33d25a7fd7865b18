"""The deployed suite, the accounts that act on it, and the signatures they make."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pytest

from incentives.artifacts import Artifact, parse_artifact
from incentives.chain import Contract, Event, Sent, Web3Chain
from incentives.errors import Reverted
from incentives.signing import LocalSigner, Signer, split_signature
from incentives.vouchers import ChannelKey, sign_voucher
from sharding.hashing import keccak256
from tests.conftest import ask
from verification.addresses import Address, address_bytes, to_address
from verification.typed_data import Domain, address_word, bytes32_word, struct_hash, typed_digest, uint_word

MIN_STAKE = 100
UNBONDING = 1000
CLOSE_DELAY = 600
MATURITY = 150
"""Seconds; what is settled is ripe after two windows of this length at the latest."""
MAX_FEE = 200
EPOCH = 400
"""Seconds."""
BOND, DELAY, ANSWER, PROOF, DESCENT = 51, 200, 150, 160, 80
TERMS = BOND, DELAY, ANSWER, PROOF, DESCENT
DEMAND_TERMS = BOND, DELAY, ANSWER
ARBITERS = 4
"""Disputes, jury, reliability, demands."""
SUPPLY = 10**30
WEALTH = 10**24
FOREVER = 2**256 - 1
DEADLINE = 2**48
PEER = keccak256(b"peer")
WORK = keccak256(b"work")
RECLAIMED = 2**40 - 1
ZERO = to_address(bytes(20))
GRAVE = to_address("0x000000000000000000000000000000000000dEaD")
POOL = to_address(b"audit pool".rjust(20))
"""Of Channels: a contract elsewhere, which signs nothing."""
GAS = 1_000_000
"""Enough for every function; given where a transaction has to be mined although it fails."""
_DOUBLES = Path(__file__).parent / "artifacts"

Refusal = tuple[str, tuple[Any, ...]]
Words = tuple[bytes, bytes]
Settlement = tuple[tuple[Any, ...], int, bytes, bytes, bytes]


def dev(index: int) -> LocalSigner:
    """One of the ten accounts with gas money: 0 deployed the suite, 9 is a stranger to everything."""
    return LocalSigner.dev_account(index, 31337)


def hot(name: str) -> LocalSigner:
    """A key without gas money."""
    return LocalSigner(keccak256(name.encode()))


def double(name: str) -> Artifact:
    """The compiled form of a contract that only tests use."""
    return parse_artifact(json.loads((_DOUBLES / f"{name}.json").read_text()))


def create_address(sender: Address, nonce: int) -> Address:
    """Where a plain account's next contract will be; not by the packages' own code, which these tests are to judge.

    RLP: a number below 128 is its own byte, zero is the empty string, others carry their length first.
    """
    digits = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    number = digits if 0 < nonce < 0x80 else bytes([0x80 + len(digits)]) + digits
    content = b"\x94" + address_bytes(sender) + number
    return to_address(keccak256(bytes([0xC0 + len(content)]) + content)[12:])


def word(node: str, weight: int) -> bytes:
    """One payee: address, then weight."""
    return address_bytes(node) + weight.to_bytes(12, "big")


@dataclass(frozen=True, slots=True)
class World:
    """One token and the suite on one chain."""

    url: str
    chain: Web3Chain
    token: Contract
    stakes: Contract
    court: Contract
    channels: Contract
    disputes: Contract
    verdicts: Contract
    """A court that convicts whom it is told to; Channels listens to it."""
    demands: Contract

    def send(self, who: Signer, contract: Contract, fn: str, *args: Any, gas: int | None = None) -> Sent:
        return self.chain.send(who, contract, fn, *args, gas=gas)

    def view(self, contract: Contract, fn: str, *args: Any) -> Any:
        return self.chain.call(contract, fn, *args)

    def refusal(self, who: Signer, contract: Contract, fn: str, *args: Any, gas: int | None = None) -> Refusal:
        """The name and arguments that the call reverts with."""
        with pytest.raises(Reverted) as caught:
            self.send(who, contract, fn, *args, gas=gas)
        return caught.value.name, tuple(_checksummed(item) for item in caught.value.arguments)

    def balance(self, account: str) -> int:
        return int(self.view(self.token, "balanceOf", account))

    def stake(self, node: Signer) -> tuple[int, str, int, int, int]:
        """(bonded, signer, exiting, exitAt, joinedAt)"""
        return tuple(self.view(self.stakes, "stakeOf", node.address))

    def give(self, who: Signer, amount: int) -> None:
        """Gives tokens."""
        self.send(dev(0), self.token, "transfer", who.address, amount)

    def pass_time(self, seconds: int) -> None:
        ask(self.url, "evm_increaseTime", seconds)
        ask(self.url, "evm_mine")

    def ripen(self) -> None:
        """All that is settled by now can be collected."""
        self.pass_time(2 * MATURITY)

    def ripe(self, payees: bytes) -> int:
        """What is ripe in a pot at the head's second."""
        return int(self.view(self.channels, "ripeOf", payees, self.chain.head().timestamp))

    def next_block_at(self, timestamp: int) -> None:
        ask(self.url, "evm_setNextBlockTimestamp", timestamp)

    def domain(self, contract: Contract) -> Domain:
        return Domain(self.chain.chain_id, contract.address)

    def consent(self, owner: Signer, signer: Signer, peer: bytes = PEER, domain: Domain | None = None) -> Words:
        """The signer's signature that it serves the owner."""
        words = address_word(owner.address), bytes32_word("peer", peer)
        content = struct_hash("SignerConsent(address owner,bytes32 peer)", words)
        return split_signature(signer.sign_digest(typed_digest(domain or self.domain(self.stakes), content)))

    def permit(
        self, owner: Signer, spender: Contract, amount: int, deadline: int = DEADLINE
    ) -> tuple[int, int, bytes, bytes]:
        """(deadline, v, r, s) of an EIP-2612 permit."""
        words = (
            address_word(owner.address),
            address_word(spender.address),
            uint_word("value", amount, 256),
            uint_word("nonce", self.view(self.token, "nonces", owner.address), 256),
            uint_word("deadline", deadline, 256),
        )
        kind = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        digest = typed_digest(self.domain(self.token), struct_hash(kind, words))
        r, vs = split_signature(owner.sign_digest(digest))
        packed = int.from_bytes(vs, "big")
        return deadline, 27 + (packed >> 255), r, (packed & (1 << 255) - 1).to_bytes(32, "big")

    def channel(
        self, payer: Signer, signer: Signer, words: Sequence[bytes], amount: int = 0, salt: bytes = PEER
    ) -> ChannelKey:
        """The key of a channel; with an amount, the channel is opened and funded."""
        key = ChannelKey(payer.address, signer.address, keccak256(b"".join(words)), salt)
        if amount:
            self.send(payer, self.channels, "depositAndOpen", astuple(key), amount)
        return key

    def channel_state(self, key: ChannelKey) -> tuple[int, int, int]:
        """(locked, settled, closesAt)"""
        return tuple(self.view(self.channels, "channel", key.id(self.domain(self.channels))))

    def voucher(self, signer: Signer, key: ChannelKey, cumulative: int, domain: Domain | None = None) -> Settlement:
        """The arguments of `settle`."""
        domain = domain or self.domain(self.channels)
        signed = sign_voucher(signer, domain, key, cumulative, WORK)
        return (astuple(key), cumulative, WORK, *split_signature(signed.signature))

    def bring_bonds(self, contract: Contract, *accounts: Signer) -> None:
        """Ten bonds each, and an allowance for more."""
        for who in accounts:
            self.send(who, self.token, "approve", contract.address, FOREVER)
            self.send(who, contract, "deposit", 10 * BOND)

    def join(self, owner: Signer, signer: Signer, amount: int = 10 * MIN_STAKE) -> Sent:
        """A funded owner bonds."""
        return self.send(owner, self.stakes, "join", amount, signer.address, PEER, *self.consent(owner, signer))


def batched(rows: Sequence[Settlement]) -> list[tuple[bytes, list[tuple[Any, ...]]]]:
    """The argument of `settleMany`, made of those of `settle`; neighbours with the same payees share them."""
    batch: list[tuple[bytes, list[tuple[Any, ...]]]] = []
    for (payer, signer, payees, salt), *rest in rows:
        if not batch or batch[-1][0] != payees:
            batch.append((payees, []))
        batch[-1][1].append((payer, signer, salt, *rest))
    return batch


def only_event(sent: Sent) -> tuple[str, Mapping[str, Any]]:
    """The one event that the called contract emitted."""
    (event,) = sent.logs
    return plain_event(event)


def plain_event(event: Event) -> tuple[str, dict[str, Any]]:
    return event.name, dict(event.args)


def _checksummed(item: Any) -> Any:
    return to_address(item) if isinstance(item, str) and len(item) == 42 else item


def deploy_world(url: str) -> World:
    """Deploys token, stakes, court and channels, in this order, by account 0.

    Accounts 1 to 5 get money and give both contracts unlimited allowances; 6 to 9 have none.
    """
    chain = Web3Chain(url, expected_chain_id=31337)
    token = chain.deploy(dev(0), shipped("Token"), SUPPLY).contract
    stakes, court, disputes, demands = deploy_judged(chain, token)
    verdicts = chain.deploy(dev(0), double("AnyVerdicts")).contract
    terms = CLOSE_DELAY, MATURITY, verdicts.address, POOL
    channels = chain.deploy(dev(0), shipped("Channels"), token.address, *terms).contract
    world = World(url, chain, token, stakes, court, channels, disputes, verdicts, demands)
    for index in range(1, 6):
        world.give(dev(index), WEALTH)
        for spender in (stakes, channels):
            world.send(dev(index), token, "approve", spender.address, FOREVER)
    return world


def deploy_judged(chain: Web3Chain, token: Contract, min_stake: int = MIN_STAKE) -> tuple[Contract, ...]:
    """Stakes, the Court, its disputes and demands, which know each other."""
    models, judge = deploy_judge(chain)
    court_at, disputes_at, demands_at, *others = next_addresses(chain, 1 + ARBITERS, after=1)
    stakes = chain.deploy(dev(0), shipped("Stakes"), token.address, court_at, min_stake, UNBONDING, MAX_FEE).contract
    calendar = chain.head().timestamp, EPOCH
    arbiters = disputes_at, *others, demands_at
    court = chain.deploy(dev(0), shipped("Court"), stakes.address, arbiters, calendar).contract
    disputes = chain.deploy(dev(0), shipped("Disputes"), court.address, judge.address, TERMS).contract
    demands = chain.deploy(dev(0), shipped("Demands"), court.address, models.address, DEMAND_TERMS).contract
    return stakes, court, disputes, demands


def deploy_lenient(chain: Web3Chain, token: Contract, judge: str = "AnyCourt") -> tuple[Contract, Contract]:
    """Stakes before a double of the court."""
    (court_at,) = next_addresses(chain, 1, after=1)
    stakes = chain.deploy(dev(0), shipped("Stakes"), token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE).contract
    return stakes, chain.deploy(dev(0), double(judge)).contract


def next_addresses(chain: Web3Chain, count: int, after: int = 0) -> list[Address]:
    """Where account 0 will deploy, so many contracts from now on."""
    nonce = chain.nonce(dev(0).address) + after
    return [create_address(dev(0).address, nonce + k) for k in range(count)]


def deploy_judge(chain: Web3Chain) -> tuple[Contract, Contract]:
    """Models, and a judge of them."""
    models, *parts = [chain.deploy(dev(0), shipped(name)).contract for name in ("Models", "Rulebook", "Bench")]
    built_from = [each.address for each in (models, *parts)]
    return models, chain.deploy(dev(0), shipped("Judge"), *built_from).contract


def shipped(name: str) -> Artifact:
    return Contract.at(name, ZERO).artifact


def saying(chain: Web3Chain, *words: int) -> Address:
    """A contract that answers whatever it is asked with these words."""
    stores = (
        b"\x7f" + each.to_bytes(32, "big") + b"\x60" + bytes([32 * at]) + b"\x52" for at, each in enumerate(words)
    )
    code = b"".join(stores) + b"\x60" + bytes([32 * len(words)]) + b"\x60\x00\xf3"
    creation = b"\x60" + bytes([len(code)]) + b"\x80\x60\x09\x3d\x39\x3d\xf3" + code
    return chain.deploy(dev(0), Artifact("Saying", (), creation, code, ())).address
