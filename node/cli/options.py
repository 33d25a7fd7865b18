"""Options that several commands share, and what they resolve to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from incentives.signing import LocalSigner
from node.errors import SettingsError
from node.model_folder import profile_of, resolve_model
from node.network import Network, connect
from node.settings import NodeSettings, Profile, load_client_settings
from sharding.profiles import EXACT_PROFILE

RpcOption = Annotated[
    list[str] | None,
    typer.Option(
        "--chain", "--rpc", help="JSON-RPC URL of the chain; several make up for each other.", show_default=False
    ),
]
DeploymentOption = Annotated[
    Path | None, typer.Option("--deployment", help="Deployment file.", show_default="deployments/<chain id>.json")
]
ConfigOption = Annotated[Path, typer.Option("--config", help="The node's configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DevAccountOption = Annotated[
    int | None,
    typer.Option("--dev-account", min=0, max=9, help="A test account of the local chain, 0 to 9.", show_default=False),
]
KeystoreOption = Annotated[
    Path | None, typer.Option("--keystore", help="Keystore V3 file of the key.", show_default=False)
]
PasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file", help="File with the keystore's password; asked for without it.", show_default=False
    ),
]
ProfileOption = Annotated[
    Profile | None,
    typer.Option(
        "--profile", help="exact: the same bytes on every machine; float32: for models without an exact form.",
        show_default="TALLY_PROFILE, else exact",
    ),
]  # fmt: skip
WaitOption = Annotated[float, typer.Option("--wait", min=0, max=600, help="Seconds to wait for the chain.")]


def load_network(rpc: Sequence[str] | None, deployment: Path | None, wait_seconds: float = 0.0) -> Network:
    """Connect with what the options say, else the settings."""
    settings = load_client_settings()
    urls, path = rpc or settings.chain_urls, deployment or settings.deployment
    return connect(urls, path, wait_seconds, settings.max_head_age_seconds)


def resolved_model(folder: Path, profile: Profile) -> Path:
    """The folder that the model is computed from, with a bar on standard error while it is quantised."""
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("quantising, once", visible=False)
        return resolve_model(
            folder, profile, lambda done, total: bar.update(task, completed=done, total=total, visible=True)
        )


def with_resolved_model(settings: NodeSettings) -> NodeSettings:
    """The settings with the folder to compute from as `model`, and the profile that it has."""
    folder = resolved_model(settings.model, settings.profile)
    profile = "exact" if profile_of(folder) == EXACT_PROFILE else "float32"
    return settings.model_copy(update={"model": folder, "profile": profile})


def load_signer(
    chain_id: int, dev_account: int | None, keystore: Path | None, password_file: Path | None
) -> LocalSigner:
    """The key that a command signs with. Raises: KeyFileError, SettingsError when none is named."""
    if dev_account is not None:
        return LocalSigner.dev_account(dev_account, chain_id)
    settings = load_client_settings()
    path = keystore or settings.keystore
    if path is None:
        raise SettingsError("key", "name one: --keystore FILE, TALLY_KEYSTORE, or --dev-account N on the local chain")
    return LocalSigner.from_keystore(path, read_password(password_file or settings.password_file))


def read_password(path: Path | None) -> str:
    """The password from a file without its line end, or from the terminal."""
    if path is None:
        return str(typer.prompt("Keystore password", hide_input=True))
    try:
        return path.read_text().rstrip("\r\n")
    except OSError as error:
        raise SettingsError(path, f"cannot be read ({error.strerror})") from error
