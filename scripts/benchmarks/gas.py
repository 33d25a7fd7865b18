"""Whole-transaction gas of what nodes and clients do most. `*_first` writes its records for the first time ever."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from incentives.chain import Web3Chain
from incentives.channels import Channels
from incentives.deploy import LOCAL_TESTNET, deploy_suite
from incentives.deployment import Deployment
from incentives.payees import Payee, payees_for, payees_hash
from incentives.signing import LocalSigner
from incentives.stakes import Stakes, sign_consent
from incentives.token import Token
from incentives.units import ONE
from incentives.vouchers import ChannelKey, sign_voucher
from verification.addresses import Address

PEER = bytes(range(32))
WORK = bytes(range(32, 64))
UNLIMITED = 2**256 - 1


@dataclass(frozen=True)
class _Chain:
    """A deployment with standing approvals, as a client or node in service has them."""

    url: str
    chain: Web3Chain
    deployment: Deployment
    stakes: Stakes
    channels: Channels
    token: Token

    def account(self, index: int) -> LocalSigner:
        return LocalSigner.dev_account(index, self.chain.chain_id)

    def pass_time(self, seconds: int) -> None:
        for method, params in (("evm_increaseTime", [seconds]), ("evm_mine", [])):
            self._ask(method, params)

    def _ask(self, method: str, params: list[Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            answer.read()


def measure_gas(url: str) -> dict[str, int]:
    """Deploy on a fresh local chain and measure."""
    chain = Web3Chain(url)
    deployer = LocalSigner.dev_account(0, chain.chain_id)
    deployment = deploy_suite(chain, deployer, LOCAL_TESTNET)
    bench = _Chain(
        url, chain, deployment, Stakes(chain, deployment), Channels(chain, deployment), Token(chain, deployment)
    )
    for index in range(1, 6):
        account = bench.account(index)
        bench.token.transfer(deployer, account.address, 100_000 * ONE)
        for spender in (bench.stakes.contract.address, bench.channels.contract.address):
            bench.token.approve(account, spender, UNLIMITED)
    return _joining(bench) | _paying(bench)


def _joining(bench: _Chain) -> dict[str, int]:
    used = {}
    _join(bench, bench.account(2), bench.account(8))  # from here on the contract's own balance exists
    owner, signer = bench.account(1), bench.account(7)
    used["join_first"] = _join(bench, owner, signer)
    announcement = (owner.address, PEER, 0, 4, 10**12, "wss://node.example:7100")
    used["announce"] = bench.stakes.announce(signer, *announcement).gas_used
    bench.stakes.exit(owner, 1_000 * ONE)
    bench.pass_time(LOCAL_TESTNET.unbonding_s + 1)
    bench.stakes.withdraw(owner)
    used["join"] = _join(bench, owner, signer)
    return used


def _join(bench: _Chain, owner: LocalSigner, signer: LocalSigner) -> int:
    consent = sign_consent(signer, bench.stakes.domain, owner.address, PEER)
    return bench.stakes.join(owner, consent, 1_000 * ONE).gas_used


def _paying(bench: _Chain) -> dict[str, int]:
    used: dict[str, int] = {}
    client, sender = bench.account(4), bench.account(6)
    bench.channels.deposit(bench.account(5), ONE)
    bench.channels.deposit(client, 50 * ONE)
    for stages in (4, 32):
        payees = payees_for([(_node(index), 1) for index in range(stages)])
        key = ChannelKey(client.address, client.address, payees_hash(payees), PEER)
        opened = bench.channels.deposit_and_open(client, key, 10 * ONE).gas_used
        other = ChannelKey(client.address, client.address, payees_hash(payees), WORK)
        from_free = bench.channels.open(client, other, 10 * ONE).gas_used
        settled = [_settle(bench, sender, client, key, part * ONE) for part in (1, 2)]
        if stages == 4:
            used |= {"open": opened, "open_from_free": from_free, "settle_first": settled[0], "settle": settled[1]}
            used |= _collecting(bench, sender, client, key, payees)
        else:
            used |= {"settle_32_first": settled[0], "settle_32": settled[1]}
    return used


def _collecting(
    bench: _Chain, sender: LocalSigner, client: LocalSigner, key: ChannelKey, payees: tuple[Payee, ...]
) -> dict[str, int]:
    first = bench.channels.collect(sender, payees, 0).gas_used
    _settle(bench, sender, client, key, 3 * ONE)
    return {"collect_first": first, "collect": bench.channels.collect(sender, payees, 0).gas_used}


def _settle(bench: _Chain, sender: LocalSigner, client: LocalSigner, key: ChannelKey, cumulative: int) -> int:
    signed = sign_voucher(client, bench.channels.domain, key, cumulative, WORK)
    return bench.channels.settle(sender, signed).gas_used


def _node(index: int) -> Address:
    return Address("0x" + (0x1000 + index).to_bytes(20, "big").hex())
