"""A node's life: each start-up step has a name and an error that says what to do; then it serves until it is told to stop."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from incentives.chain_types import Sent
from incentives.errors import ChainError, DeploymentError
from node.admission import StageTerms
from node.directory import Directory
from node.draining import asked_grace, keep_reporting
from node.errors import NotStaked, SettingsError
from node.gossip import Gossip, GossipParts
from node.gossip_author import Author, Service, Speed, StageLoad, first_speed, stage_load
from node.keys import STATUS_FILE, NodeKeys, load_keys
from node.ledger import Ledger
from node.model_folder import engine_loader, resolve_model
from node.network import Network, connect
from node.server import StageContext, StageLimits, StageServer
from node.settings import NodeSettings
from node.settlement import Settlement, keep_settling
from node.store import Store
from node.worker import Worker
from node.wss import WssTransport
from sharding.engine import Engine
from verification.addresses import to_address
from verification.routes import profile_id

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.25


def load_engine(settings: NodeSettings) -> Engine:
    """Load the tensors of this node's span and no others. Raises: ShardingError, SettingsError."""
    import torch  # takes seconds: a node that may not serve says so first

    torch.set_num_threads(settings.threads)
    folder = resolve_model(settings.model, settings.profile)
    engine = engine_loader(folder)(folder, settings.span, cache_bytes=settings.cache_megabytes << 20)
    expected = settings.manifest
    if expected is not None and engine.manifest.root.hex() != expected.removeprefix("0x").lower():
        raise SettingsError("manifest", f"{folder} has root {engine.manifest.root.hex()}, expected {expected}")
    log.info("blocks %s are computed in profile %s with kernels %s", engine.span, engine.profile, engine.kernel)
    return engine


def stage_limits(settings: NodeSettings) -> StageLimits:
    """What the operator lets strangers use."""
    return StageLimits(
        sessions=settings.max_sessions,
        sessions_per_client=settings.max_sessions_per_client,
        idle_seconds=settings.session_idle_seconds,
        batch_rows=settings.batch_tokens,
        waiting_rows=settings.max_waiting_tokens,
        swap_bytes=settings.swap_megabytes << 20,
        log_bytes=settings.replay_megabytes << 20,
        reuses_prefixes=settings.reuse_prefixes,
    )


def wait_for_stake(settings: NodeSettings, keys: NodeKeys, seconds: float, cancelled: threading.Event) -> Network:
    """Reach the chain and find this node staked; try again until the time is up or somebody cancels.

    Raises: ChainUnavailable, DeploymentError, CodeMismatch, NotStaked.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            network = connect(settings.rpc_url, settings.deployment)
            check_stake(network, settings, keys)
            return network
        except (ChainError, DeploymentError, NotStaked):
            if time.monotonic() >= deadline or cancelled.wait(RETRY_SECONDS):
                raise


def check_stake(network: Network, settings: NodeSettings, keys: NodeKeys) -> None:
    """The chain must know this owner with this signer, this TLS key and enough stake. Raises: NotStaked."""
    owner = to_address(settings.owner)
    identity = network.stakes.identities().get(owner)
    if identity is None:
        raise NotStaked(owner, "has not joined; run `tally stake AMOUNT --config node.toml`")
    if (identity.signer, identity.peer) != (keys.signer.address, keys.identity.peer):
        raise NotStaked(
            owner, "joined with other keys than those in data_dir; restore them, or make the node leave and stake again"
        )
    bonded, minimum = network.stakes.stake_of(owner).bonded, network.deployment.params.min_stake
    if bonded < minimum:
        raise NotStaked(owner, f"has {bonded} staked, the minimum is {minimum}; run `tally stake` again")


def announce_if_new(
    network: Network, settings: NodeSettings, keys: NodeKeys, manifest: bytes, endpoint: str
) -> Sent | None:
    """Tell the chain what this node serves and where, unless its last announcement says just that."""
    owner, span = to_address(settings.owner), settings.span
    current = {each.node: each for each in network.stakes.announcements()}.get(owner)
    wanted = (manifest, span.start, span.end, settings.ask_units, endpoint)
    if current is not None and (current.manifest, current.start, current.end, current.ask, current.endpoint) == wanted:
        return None
    return network.stakes.announce(keys.signer, owner, *wanted)


def settle_interval(settings: NodeSettings, network: Network) -> float:
    """Seconds between rounds: several must fit into the time that a payer waits for its money back."""
    return min(settings.settle_every_seconds, network.deployment.params.close_delay_s / 4)


def _author(context: StageContext, server: StageServer, endpoint: str, keys: NodeKeys, speed: Speed) -> Author:
    """What signs this node's records."""
    terms, peer = context.terms, keys.identity.peer
    service = Service(terms.node, peer, endpoint, terms.manifest, profile_id(terms.profile), terms.span, terms.ask)

    async def load() -> StageLoad:
        return await stage_load(server.batcher, draining=server.draining)

    return Author(service, keys.signer, context.network.hello_domain, load, speed)


@dataclass(frozen=True, slots=True)
class Serving:
    """What a node that has started says of itself."""

    endpoint: str
    profile: str


class NodeProcess:
    """One running node: use `start`, then `serve_until`; `close` in any case."""

    def __init__(self, settings: NodeSettings, wait_seconds: float = 0.0) -> None:
        self._settings = settings
        self._wait_seconds = wait_seconds
        self._cancelled = threading.Event()
        self._store = Store(settings.data_dir)
        self._worker = Worker()
        self._transport: WssTransport | None = None
        self._server: StageServer | None = None
        self._gossip: Gossip | None = None

    async def start(self) -> Serving:
        """Bring everything up; returns the endpoint that others dial, and the profile."""
        settings = self._settings
        keys = load_keys(settings)
        network = await asyncio.to_thread(wait_for_stake, settings, keys, self._wait_seconds, self._cancelled)
        engine = await self._worker.run(load_engine, settings)
        ledger = Ledger(self._store)
        self._transport = WssTransport(keys.signer, network.hello_domain, keys.identity)
        context = self._context(keys, network, engine, ledger, self._transport)
        self._server, self._gossip = StageServer(context), context.gossip
        minimum = max(1, settings.collect_minimum_units)
        self._settle_every = settle_interval(settings, network)
        self._settlement = Settlement(network, ledger, keys.signer, self._server.is_busy, minimum)
        speed = await first_speed(self._server.batcher, engine)
        listener = await self._server.start(settings.host, settings.port)
        endpoint = settings.endpoint or listener.endpoint
        await asyncio.to_thread(announce_if_new, network, settings, keys, engine.manifest.root, endpoint)
        if self._gossip is not None:
            self._gossip.author = _author(context, self._server, endpoint, keys, speed)
        serving = Serving(endpoint, engine.profile)
        self._write_status(serving, keys)
        return serving

    def _context(
        self, keys: NodeKeys, network: Network, engine: Engine, ledger: Ledger, transport: WssTransport
    ) -> StageContext:
        settings = self._settings
        terms = StageTerms(
            node=to_address(settings.owner),
            span=settings.span,
            num_blocks=engine.spec.num_blocks,
            manifest=engine.manifest.root,
            profile=engine.profile,
            ask=settings.ask_units,
            max_window=settings.max_window_tokens,
            max_positions=engine.spec.max_positions,
        )
        directory = Directory(network)
        gossip = Gossip(GossipParts(network, directory, transport, settings.gossip_seconds))
        return StageContext(
            terms, network, directory, engine, self._worker, ledger, keys.signer, transport, stage_limits(settings), gossip
        )  # fmt: skip

    def _write_status(self, serving: Serving, keys: NodeKeys) -> None:
        status = {
            "pid": os.getpid(),
            "created": psutil.Process().create_time(),
            "endpoint": serving.endpoint,
            "profile": serving.profile,
            "signer": keys.signer.address,
            "owner": self._settings.owner,
        }
        draft = self._settings.data_dir / f"{STATUS_FILE}.tmp"
        draft.write_text(json.dumps(status))
        draft.replace(self._settings.data_dir / STATUS_FILE)

    async def serve_until(self, stop: asyncio.Event, drain: asyncio.Event) -> None:
        """Serve and settle until told to stop, or told to drain and drained."""
        tasks = [
            asyncio.create_task(keep_settling(self._settlement, self._settle_every)),
            asyncio.create_task(self._drain_when(drain, stop)),
            *([asyncio.create_task(self._gossip.run())] if self._gossip is not None else []),
        ]
        try:
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain_when(self, drain: asyncio.Event, stop: asyncio.Event) -> None:
        await drain.wait()
        server, folder = self._server, self._settings.data_dir
        if server is None:
            return
        grace = asked_grace(folder)  # before the first report takes the file's place
        reporting = asyncio.create_task(keep_reporting(folder, server))
        try:
            await server.drain(grace)
        finally:
            reporting.cancel()
        log.info("drained: no session is left")
        stop.set()

    async def close(self) -> None:
        """Close streams, free the engine, release the data directory."""
        self._cancelled.set()
        if self._server is not None:
            await self._server.close()
        if self._transport is not None:
            await self._transport.close()
        self._worker.close()
        (self._settings.data_dir / STATUS_FILE).unlink(missing_ok=True)
        self._store.close()


async def run_node(
    settings: NodeSettings,
    stop: asyncio.Event,
    wait_seconds: float,
    ready: Callable[[Serving], None],
    drain: asyncio.Event | None = None,
) -> None:
    """Run one node from start to stop; `ready` hears of it once it serves."""
    node = NodeProcess(settings, wait_seconds)
    starting, stopping = asyncio.create_task(node.start()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            ready(starting.result())
            await node.serve_until(stop, drain or asyncio.Event())
    finally:
        starting.cancel()
        stopping.cancel()
        await node.close()
