"""What the demo shows at its end: every transaction with its gas, every balance before and after, and that nothing is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from incentives.chain_types import Contract, Event
from node.cli.output import make_table, short, units
from node.money_view import Buckets, buckets_of
from node.network import Network
from verification.addresses import Address


@dataclass(frozen=True, slots=True)
class Holdings:
    """All tokens of a deployment at one moment, in the smallest unit."""

    accounts: dict[str, Buckets]
    stakes_contract: int
    channels_contract: int
    supply: int

    @property
    def in_pots(self) -> int:
        """What the Channels contract holds for nobody's free or locked balance: pots that are not collected, and dust."""
        return self.channels_contract - sum(b.free + b.locked for b in self.accounts.values())

    @property
    def total(self) -> int:
        """Everything that is accounted for; equal to the supply, or a coin is missing."""
        return sum(b.total for b in self.accounts.values()) + self.in_pots


def read_holdings(network: Network, names: Mapping[str, Address], channels: Sequence[bytes]) -> Holdings:
    """Read every bucket; `channels` are those the account called "client" opened."""
    accounts = {
        name: buckets_of(network, address, channels if name == "client" else ()) for name, address in names.items()
    }
    return Holdings(
        accounts=accounts,
        stakes_contract=network.token.balance_of(network.deployment.stakes.address),
        channels_contract=network.token.balance_of(network.deployment.channels.address),
        supply=network.token.total_supply(),
    )


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of the payment's life."""

    what: str
    amount: int | None
    gas_used: int
    tx_hash: bytes


_CHANNEL_EVENTS = ("Opened", "Settled", "Collected", "CloseStarted", "Reclaimed", "Withdrawn")


def transactions_of(network: Network, first_block: int) -> list[Transaction]:
    """The channel's transactions since a block, in the chain's order, with the gas that they took."""
    contract: Contract = network.deployment.contract("Channels")
    events = [event for name in _CHANNEL_EVENTS for event in network.chain.events(contract, name, first_block)]
    events.sort(key=lambda event: (event.block, event.log_index))
    return [
        Transaction(event.name, _amount(event), network.chain.gas_used(event.tx_hash), event.tx_hash)
        for event in events
    ]


def _amount(event: Event) -> int | None:
    return next((int(event.args[key]) for key in ("amount", "cumulative", "locked") if key in event.args), None)


def transactions_table(transactions: Sequence[Transaction]) -> Table:
    """One line per transaction."""
    rows = [
        (t.what, units(t.amount) if t.amount is not None else "", f"{t.gas_used:,}", short("0x" + t.tx_hash.hex()))
        for t in transactions
    ]
    return make_table("Transactions", ("event", "amount", "gas", "transaction"), rows)


def balances_table(before: Holdings, after: Holdings) -> Table:
    """Every account before and after, the pots, and sums that match to the last unit."""
    rows = [
        (name, units(old.total), units(after.accounts[name].total), units(after.accounts[name].total - old.total))
        for name, old in before.accounts.items()
    ]
    rows.append(("left in pots", units(before.in_pots), units(after.in_pots), units(after.in_pots - before.in_pots)))
    rows.append(("sum", units(before.total), units(after.total), units(after.total - before.total)))
    rows.append(("token supply", units(before.supply), units(after.supply), units(after.supply - before.supply)))
    return make_table("Balances: wallet + stake + channels", ("account", "before", "after", "change"), rows)


def report_json(before: Holdings, after: Holdings, transactions: Sequence[Transaction]) -> dict[str, object]:
    """The same for programs; amounts as text in the smallest unit."""
    return {
        "transactions": [
            {
                "event": t.what,
                "amount": None if t.amount is None else str(t.amount),
                "gas": t.gas_used,
                "tx": "0x" + t.tx_hash.hex(),
            }
            for t in transactions
        ],
        "before": _holdings_json(before),
        "after": _holdings_json(after),
    }


def _holdings_json(holdings: Holdings) -> dict[str, object]:
    accounts = {name: str(buckets.total) for name, buckets in holdings.accounts.items()}
    return {
        "accounts": accounts,
        "pots": str(holdings.in_pots),
        "total": str(holdings.total),
        "supply": str(holdings.supply),
    }
