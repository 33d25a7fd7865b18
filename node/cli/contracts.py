"""`tally contracts`: put the suite on a chain, show where it is."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from incentives.deploy import LOCAL_TESTNET, SuiteParams, deploy_suite
from incentives.deployment import CONTRACTS, Deployment
from incentives.units import parse_amount
from node.cli.options import (
    DeploymentOption,
    DevAccountOption,
    JsonOption,
    KeystoreOption,
    PasswordOption,
    RpcOption,
    WaitOption,
    load_network,
    load_signer,
)
from node.cli.output import console, make_table, print_json
from node.devchain.constants import CHAIN_ID
from node.errors import SettingsError
from node.settings import load_client_settings
from verification.addresses import to_address

app = typer.Typer(no_args_is_help=True)


@app.command()
def deploy(
    rpc: RpcOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Where to write.", show_default="deployments/<chain id>.json")
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="An existing ERC-20; needed on any chain but the local one.")
    ] = None,
    min_stake: Annotated[str | None, typer.Option(help="Smallest stake of a node, in tokens.")] = None,
    unbonding_seconds: Annotated[int | None, typer.Option(min=1)] = None,
    close_delay_seconds: Annotated[int | None, typer.Option(min=1)] = None,
    maturity_seconds: Annotated[
        int | None, typer.Option(min=1, help="How long what nodes earn can be refunded, at least.")
    ] = None,
    dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    wait: WaitOption = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Deploy the contracts to any chain; on the local one with account 0, a test token and times in seconds."""
    from incentives.chain import Web3Chain, wait_until_up

    urls = rpc or load_client_settings().chain_urls
    wait_until_up(urls, wait)
    chain = Web3Chain(urls)
    local = chain.chain_id == CHAIN_ID
    if token is None and not local:
        raise SettingsError(
            "--token", f"name the ERC-20 that chain {chain.chain_id} pays with; test tokens are for the local chain"
        )
    key_is_named = dev_account is not None or keystore is not None or load_client_settings().keystore is not None
    signer = load_signer(chain.chain_id, 0 if local and not key_is_named else dev_account, keystore, password_file)
    base = LOCAL_TESTNET if local else SuiteParams()
    params = _params(base, min_stake, unbonding_seconds, close_delay_seconds, maturity_seconds)
    with console.status("deploying", spinner="line") as status:
        deployment = deploy_suite(
            chain, signer, params, to_address(token) if token else None,
            lambda deployed: status.update(f"deployed {deployed.contract.name} at {deployed.address}"),
        )  # fmt: skip
    path = to or Path("deployments") / f"{chain.chain_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    deployment.write(path)
    _print(deployment, path, as_json)


def _params(
    base: SuiteParams, min_stake: str | None, unbonding: int | None, close_delay: int | None, maturity: int | None
) -> SuiteParams:
    return replace(
        base,
        min_stake=parse_amount(min_stake) if min_stake else base.min_stake,
        unbonding_s=unbonding or base.unbonding_s,
        close_delay_s=close_delay or base.close_delay_s,
        maturity_s=maturity or base.maturity_s,
    )


@app.command()
def addresses(rpc: RpcOption = None, deployment: DeploymentOption = None, as_json: JsonOption = False) -> None:
    """Check the deployment against the chain and show it."""
    network = load_network(rpc, deployment)
    _print(network.deployment, deployment, as_json)


@app.command()
def register(
    folder: Annotated[Path, typer.Argument(help="The model, in the exact profile, with its manifest.")],
    rpc: RpcOption = None,
    deployment: DeploymentOption = None,
    dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a model, so that wrong work about it can be proven to the contracts; once more changes nothing."""
    from incentives.models import Models
    from sharding.manifest import EXACT_PROFILE, read_manifest
    from sharding.spec import ModelSpec

    manifest = read_manifest(folder)
    if manifest.profile != EXACT_PROFILE:
        reason = f"profile {manifest.profile} is not judged by arithmetic: `tally quantize` makes an exact model of it"
        raise SettingsError(str(folder), reason)
    network = load_network(rpc, deployment)
    signer = load_signer(network.deployment.chain_id, dev_account, keystore, password_file)
    models = Models(network.chain, network.deployment.contract("Models"))
    known = models.is_registered(manifest.root)
    sent = models.register_manifest(signer, manifest, ModelSpec.from_folder(folder))
    root = "0x" + manifest.root.hex()
    if as_json:
        print_json(
            {"manifest": root, "model": manifest.model, "wasKnown": known, "transaction": "0x" + sent.tx_hash.hex()}
        )
    else:
        console.print(f"{manifest.model} is registered as {root}" + (" (it was before)" if known else ""))


def _print(deployment: Deployment, path: Path | None, as_json: bool) -> None:
    records = {name: deployment.record(name) for name in CONTRACTS}
    if as_json:
        contracts = {
            name: {"address": r.address, "codeHash": "0x" + r.code_hash.hex(), "block": r.block}
            for name, r in records.items()
        }
        print_json({"chainId": deployment.chain_id, "contracts": contracts})
        return
    rows = [
        (name, record.address, "0x" + record.code_hash.hex()[:16], str(record.block))
        for name, record in records.items()
    ]
    console.print(make_table(f"Chain {deployment.chain_id}", ("contract", "address", "code hash", "block"), rows))
    if path is not None:
        console.print(f"written to {path}")
