"""`tally run`, `pull`, `manifest`, `network`: the client's commands."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import TaskID

from incentives.units import parse_amount
from node.cli.options import (
    DeploymentOption,
    DevAccountOption,
    JsonOption,
    KeystoreOption,
    PasswordOption,
    ProfileOption,
    RpcOption,
    load_network,
    load_signer,
    resolved_model,
)
from node.cli.output import console, make_table, print_json, printable, short, units
from node.client_errors import SessionFailed
from node.settings import DEFAULT_MAX_PRICE, DEFAULT_MODELS, load_client_settings
from sharding.span import Span

if TYPE_CHECKING:
    from node.gossip_view import NodeView

network_app = typer.Typer(no_args_is_help=True)


def run(
    prompt: Annotated[str, typer.Argument(help="What the model continues.")],
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens to generate.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option(help="Sample from the k likeliest; 0 from all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest that make up p.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal texts.")] = 0,
    distinct_owners: Annotated[bool, typer.Option("--distinct-owners", help="No two stages of one owner.")] = False,
    urgent: Annotated[bool, typer.Option("--urgent", help="Pay twice the ask, and go before who does not.")] = False,
    max_price: Annotated[
        str, typer.Option(help="The most one token may cost over the whole route.")
    ] = DEFAULT_MAX_PRICE,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of the model; no weights are read of an exact one.", show_default="the demo model's"),
    ] = None,
    profile: ProfileOption = None,
    rpc: RpcOption = None,
    deployment: DeploymentOption = None,
    dev_account: DevAccountOption = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue a prompt over the network, pay for it, and show the bill. Every stage can read what you send."""
    from node.cli.bills import bill_json, bill_table, print_recovery
    from node.generation import ClientModel, generate_text
    from node.lifetime import run_loop
    from sharding.sampling import SamplingParams

    sampling = SamplingParams(temperature, top_k, top_p, seed)
    settings = load_client_settings()
    profile = profile or settings.profile
    folder = model or settings.model or DEFAULT_MODELS[profile]
    client_model = ClientModel.from_folder(folder, resolved_model(folder, profile))
    request = client_model.request(prompt, sampling, max_tokens, parse_amount(max_price))
    request = replace(request, distinct_owners=distinct_owners, is_urgent=urgent)
    network = load_network(rpc, deployment)
    signer = load_signer(network.chain.chain_id, dev_account, keystore, password_file)
    show = _ignore_piece if as_json else _print_piece
    show(prompt)
    try:
        text = generate_text(
            network, client_model, signer, request, settings.data_dir, show,
            _ignore_recovery if as_json else print_recovery, price_seconds=settings.price_seconds,
        )  # fmt: skip
        generated = run_loop(text)
    except SessionFailed as error:
        if as_json:  # people have seen the text as it came
            print_json(
                {"text": client_model.tokenizer.decode(error.generated), "error": str(error), "code": error.code}
            )
        raise
    show("\n")
    if as_json:
        print_json({"text": generated.text, **bill_json(generated.report, client_model.terms.profile)})
    else:
        console.print(bill_table(generated.report, client_model.terms.profile))


def _print_piece(piece: str) -> None:
    console.print(printable(piece), end="", markup=False, soft_wrap=True)


def _ignore_recovery(recovery: object) -> None:
    """Programs find it in the JSON object."""


def _ignore_piece(piece: str) -> None:
    """For programs the text comes whole, in the JSON object."""


def pull(
    repo: Annotated[str, typer.Argument(help="ORG/NAME on the hub.")],
    blocks: Annotated[str | None, typer.Option(help="Only what this span needs, such as 0:4.")] = None,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    to: Annotated[Path | None, typer.Option(help="Folder.", show_default="HF_HOME/tallystick/ORG--NAME/COMMIT")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a model, or only the files that hold a span of its blocks."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from node.pull import pull as pull_model

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, disable=as_json, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(file: str, done: int, size: int | None) -> None:
            task = tasks.setdefault(file, TaskID(-1))
            if task == TaskID(-1):
                task = tasks[file] = bars.add_task(file)
            bars.update(task, completed=done, total=size)

        span = Span.parse(blocks) if blocks else None
        result = pull_model(repo, span, revision=revision, to=to, progress=report)
    if as_json:
        print_json(
            {
                "folder": str(result.folder),
                "revision": result.revision,
                "files": list(result.files),
                "bytes": result.bytes,
            }
        )
    else:
        console.print(
            f"{len(result.files)} files, {result.bytes / 1e6:.1f} MB, commit {result.revision[:12]}, in {result.folder}"
        )


def manifest(folder: Annotated[Path, typer.Argument(help="Hugging Face folder.")], as_json: JsonOption = False) -> None:
    """Hash every tensor of a model and write its manifest; the root names the model on the network."""
    from rich.progress import Progress

    from sharding.manifest import build_manifest, write_manifest

    with Progress(console=console, disable=as_json, transient=True) as bar:
        task = bar.add_task("hashing tensors", total=None)
        built = build_manifest(folder, lambda done, total: bar.update(task, completed=done, total=total))
    write_manifest(folder, built)
    if as_json:
        print_json({"root": built.root.hex(), "tensors": len(built.tensors)})
    else:
        console.print(f"{len(built.tensors)} tensors, root {built.root.hex()}")


def quantize(
    folder: Annotated[Path, typer.Argument(help="Hugging Face folder of a whole model.")],
    target: Annotated[Path, typer.Argument(help="New folder for the exact model.")],
    as_json: JsonOption = False,
) -> None:
    """Turn a checkpoint into an exact model, which gives the same bytes on every machine; all who do it get the same root."""
    from rich.progress import Progress

    from sharding.exact.quantise import quantise

    with Progress(console=console, disable=as_json, transient=True) as bar:
        task = bar.add_task("quantising", total=None)
        made = quantise(folder, target, lambda done, total: bar.update(task, completed=done, total=total))
    before, after = (sum(each.stat().st_size for each in place.glob("*.safetensors")) for place in (folder, target))
    if as_json:
        print_json({"root": made.root.hex(), "profile": made.profile, "bytes_before": before, "bytes_after": after})
    else:
        console.print(
            f"{target}: profile {made.profile}, {before / 1e6:.1f} MB -> {after / 1e6:.1f} MB, root {made.root.hex()}"
        )


@network_app.command("ls")
def network_ls(rpc: RpcOption = None, deployment: DeploymentOption = None, as_json: JsonOption = False) -> None:
    """List the nodes that have announced themselves, with the load that they tell of in their records."""
    from node.gossip_view import view_network
    from node.lifetime import run_loop
    from node.model_folder import known_profiles

    settings = load_client_settings()
    profiles = known_profiles(settings.model or DEFAULT_MODELS[settings.profile])
    nodes = run_loop(view_network(load_network(rpc, deployment)))
    if as_json:
        print_json([_node_json(each, profiles) for each in nodes])
    else:
        columns = ("node", "blocks", "ask", "staked", "endpoint", "model", "profile", "load", "record")
        console.print(make_table("Nodes", columns, [_node_row(each, profiles) for each in nodes]))


def _node_json(seen: "NodeView", profiles: dict[str, str]) -> dict[str, object]:
    chain, record = seen.chain, seen.record
    told = {"queue": record.queue, "free_pages": record.free_pages, "draining": record.draining, "age": seen.age,
            "tokens_per_second": seen.tokens_per_second, "blocks": seen.blocks,
            "phase": seen.phase, "ask": str(seen.ask)} if record else None  # fmt: skip
    return {
        "node": chain.node, "blocks": str(chain.span), "ask": str(chain.ask), "staked": str(chain.bonded),
        "leaving": str(chain.exiting), "endpoint": chain.endpoint, "manifest": chain.manifest.hex(),
        "profile": profiles.get(chain.manifest.hex()), "record": told,
    }  # fmt: skip


def _node_row(seen: "NodeView", profiles: dict[str, str]) -> tuple[str, ...]:
    chain = seen.chain
    return (
        short(chain.node), seen.blocks, units(seen.ask), units(chain.bonded), chain.endpoint,
        short(chain.manifest.hex()), profiles.get(chain.manifest.hex(), "-"), seen.load, seen.shown_age,
    )  # fmt: skip
