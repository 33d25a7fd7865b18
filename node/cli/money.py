"""`tally stake`, `unstake`, `withdraw`, `balance`, `channels`, `wallet`: every bucket has a command that moves it on."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from incentives.signing import LocalSigner
from incentives.stakes import sign_consent
from incentives.units import parse_amount
from node.channel_book import ChannelBook
from node.channel_care import close_all, reclaim_all
from node.cli.options import (
    ConfigOption,
    DeploymentOption,
    DevAccountOption,
    JsonOption,
    KeystoreOption,
    PasswordOption,
    RpcOption,
    load_network,
    load_signer,
    read_password,
)
from node.cli.output import console, make_table, print_json, short, units
from node.errors import SettingsError
from node.network import Network, connect_node
from node.settings import NodeSettings, load_client_settings, load_node_settings
from node.store import Store
from verification.addresses import to_address

T = TypeVar("T")
channels_app = typer.Typer(no_args_is_help=True)
wallet_app = typer.Typer(no_args_is_help=True)

AmountArgument = Annotated[str, typer.Argument(help="Amount in tokens, such as 250 or 0.5.")]


def stake(
    amount: AmountArgument,
    config: ConfigOption,
    gas: Annotated[str, typer.Option(help="Native coins to give the node key for its transactions.")] = "1",
    bond: Annotated[
        str | None,
        typer.Option(help="Tokens to give the node key, for demands of leaves.", show_default="what one demand costs"),
    ] = None,
    dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
) -> None:
    """Stake for a node and register its keys; staking again adds to it."""
    from node.keys import load_keys

    settings = load_node_settings(config)
    network = connect_node(settings)
    owner = _owner_signer(network, settings, dev_account, keystore, password_file)
    keys = load_keys(settings)
    if network.stakes.stake_of(owner.address).bonded:
        sent = network.stakes.add_stake(owner, parse_amount(amount))
    else:
        consent = sign_consent(keys.signer, network.stakes.domain, owner.address, keys.identity.peer)
        sent = network.stakes.join_with_permit(owner, consent, parse_amount(amount))
    missing = parse_amount(gas) - network.chain.native_balance(keys.signer.address)
    if missing > 0:
        network.chain.transfer_native(owner, keys.signer.address, missing)
    wanted = network.deployment.params.scores.demand_bond if bond is None else parse_amount(bond)
    missing = wanted - network.token.balance_of(keys.signer.address)
    if missing > 0:
        network.token.transfer(owner, keys.signer.address, missing)
    console.print(
        f"{owner.address} has {units(network.stakes.stake_of(owner.address).bonded)} staked (gas {sent.gas_used})"
    )


def _owner_signer(
    network: Network, settings: NodeSettings, dev_account: int | None, keystore: Path | None, password_file: Path | None
) -> LocalSigner:
    """The owner's key; on the local chain the test account with the owner's address is found by itself."""
    if dev_account is None and keystore is None and load_client_settings().keystore is None:
        dev_account = _dev_index(settings.owner)
    signer = load_signer(network.chain.chain_id, dev_account, keystore, password_file)
    if signer.address != settings.owner:
        raise SettingsError("key", f"is of {signer.address}, the node's owner is {settings.owner}")
    return signer


def _dev_index(address: str) -> int | None:
    from incentives.signing import dev_addresses

    return dict(zip(dev_addresses(), range(10), strict=True)).get(to_address(address))


def unstake(
    amount: AmountArgument,
    config: ConfigOption,
    dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
) -> None:
    """Begin to take stake out; it stays slashable until `tally withdraw`."""
    settings = load_node_settings(config)
    network = connect_node(settings)
    owner = _owner_signer(network, settings, dev_account, keystore, password_file)
    network.stakes.exit(owner, parse_amount(amount))
    wait = network.deployment.params.unbonding_s
    console.print(f"{amount} is leaving; `tally withdraw --config {config}` pays it out in {wait} s")


def withdraw(
    config: ConfigOption,
    dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
) -> None:
    """Pay out what has finished unbonding, and what the node has earned by posting scores."""
    from node.money_view import pay_owner

    settings = load_node_settings(config)
    network = connect_node(settings)
    owner = _owner_signer(network, settings, dev_account, keystore, password_file)
    pay_owner(network, owner)
    console.print(f"{owner.address} now has {units(network.token.balance_of(owner.address))} in its wallet")


def balance(
    address: Annotated[str | None, typer.Argument(help="Whose; without it that of the key.")] = None,
    rpc: RpcOption = None,
    deployment: DeploymentOption = None,
    dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every bucket that adds up to what an address has."""
    from node.money_view import buckets_of, known_channels

    network = load_network(rpc, deployment)
    key = (
        to_address(address)
        if address
        else load_signer(network.chain.chain_id, dev_account, keystore, password_file).address
    )
    store = Store(load_client_settings().data_dir)
    try:
        channels = known_channels(ChannelBook(store, network.money_domain), key)
    finally:
        store.close()
    buckets = buckets_of(network, key, channels)
    if as_json:
        print_json(
            {
                "address": key,
                **{name: str(value) for name, value in asdict(buckets).items()},
                "total": str(buckets.total),
            }
        )
        return
    rows = [
        ("wallet", units(buckets.wallet), "-"),
        ("staked", units(buckets.staked), "tally unstake"),
        ("leaving", units(buckets.leaving), "tally withdraw"),
        ("free in channels", units(buckets.free), "tally channels withdraw"),
        ("locked in channels", units(buckets.locked), "tally channels close, reclaim"),
        ("total", units(buckets.total), ""),
    ]
    console.print(make_table(f"Balance of {key}", ("bucket", "tokens", "moved on by"), rows))


@channels_app.command("ls")
def channels_ls(rpc: RpcOption = None, deployment: DeploymentOption = None, as_json: JsonOption = False) -> None:
    """List the channels that this client opened."""
    network = load_network(rpc, deployment)
    opened = _with_book(network, lambda book: book.all())
    rows = [(each, network.channels.state(each.channel)) for each in opened]
    if as_json:
        print_json([
            {"channel": "0x" + each.channel.hex(), "state": each.state, "locked": str(state.locked),
             "settled": str(state.settled), "promised": str(each.cumulative), "closesAt": state.closes_at}
            for each, state in rows
        ])  # fmt: skip
        return
    lines = [
        (short("0x" + e.channel.hex()), e.state, units(s.locked), units(e.cumulative), units(s.settled))
        for e, s in rows
    ]
    console.print(make_table("Channels", ("channel", "state", "locked", "promised", "settled"), lines))


def _with_book(network: Network, action: Callable[[ChannelBook], list[T]]) -> list[T]:
    store = Store(load_client_settings().data_dir)
    try:
        return action(ChannelBook(store, network.money_domain))
    finally:
        store.close()


@channels_app.command("close")
def channels_close(
    rpc: RpcOption = None, deployment: DeploymentOption = None, dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None, password_file: PasswordOption = None,
) -> None:  # fmt: skip
    """Begin to close all open channels; after the delay `tally channels reclaim` frees what was not settled."""
    network = load_network(rpc, deployment)
    signer = load_signer(network.chain.chain_id, dev_account, keystore, password_file)

    closed = _with_book(network, lambda book: close_all(book, network, signer))
    console.print(f"closing {len(closed)} channels; reclaim after {network.deployment.params.close_delay_s} s")


@channels_app.command("reclaim")
def channels_reclaim(
    rpc: RpcOption = None, deployment: DeploymentOption = None, dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None, password_file: PasswordOption = None,
) -> None:  # fmt: skip
    """Free what closed channels did not pay out."""
    network = load_network(rpc, deployment)
    signer = load_signer(network.chain.chain_id, dev_account, keystore, password_file)

    done = _with_book(network, lambda book: reclaim_all(book, network, signer))
    console.print(f"reclaimed {len(done)} channels; {units(network.channels.free_of(signer.address))} is free")


@channels_app.command("refund")
def channels_refund(
    rpc: RpcOption = None, deployment: DeploymentOption = None, dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None, password_file: PasswordOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Get back what sessions paid nodes that were convicted in them since, as far as it is not ripe."""
    from node.refunding import refund_all

    network = load_network(rpc, deployment)
    signer = load_signer(network.chain.chain_id, dev_account, keystore, password_file)
    done = _with_book(network, lambda book: refund_all(book, network, signer))
    if as_json:
        print_json([
            {"channel": "0x" + each.channel.hex(), "route": "0x" + each.route.hex(), "node": each.node,
             "amount": str(each.amount)}
            for each in done
        ])  # fmt: skip
        return
    total = sum(each.amount for each in done)
    console.print(
        f"{units(total)} came back from {len(done)} sessions; {units(network.channels.free_of(signer.address))} is free"
    )


@channels_app.command("withdraw")
def channels_withdraw(
    amount: AmountArgument, rpc: RpcOption = None, deployment: DeploymentOption = None,
    dev_account: DevAccountOption = None, keystore: KeystoreOption = None, password_file: PasswordOption = None,
) -> None:  # fmt: skip
    """Take free money back to the wallet."""
    network = load_network(rpc, deployment)
    signer = load_signer(network.chain.chain_id, dev_account, keystore, password_file)
    network.channels.withdraw(signer, parse_amount(amount))
    console.print(f"{signer.address} now has {units(network.token.balance_of(signer.address))} in its wallet")


@wallet_app.command("create")
def wallet_create(
    path: Annotated[Path, typer.Argument(help="Where to write the keystore.")], password_file: PasswordOption = None
) -> None:
    """Make a key in a password-protected keystore (V3)."""
    signer = LocalSigner.create_keystore(path, read_password(password_file))
    console.print(f"wrote {path}; address {signer.address}; back the file up, nobody can restore it")


@wallet_app.command("address")
def wallet_address(path: Path, password_file: PasswordOption = None, as_json: JsonOption = False) -> None:
    """Show the address of a keystore."""
    address = LocalSigner.from_keystore(path, read_password(password_file)).address
    if as_json:
        print_json({"address": address})
    else:
        console.print(address)
