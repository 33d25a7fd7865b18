"""A node's life: each start-up step has a name and an error that says what to do; then it serves until it is told to stop."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psutil

from incentives.errors import ChainError, DeploymentError
from node.admission import StageTerms
from node.announcing import Announcer
from node.asking import Asks, keep_asking
from node.chain_records import ChainRecords
from node.directory import Directory
from node.draining import asked_grace, keep_reporting
from node.engine_source import EngineSource
from node.epoch_duty import EpochDuty, keep_duty
from node.errors import NotStaked
from node.gossip import Gossip, GossipParts
from node.gossip_author import Author, Service, StageLoad, stage_load
from node.keys import STATUS_FILE, NodeKeys, load_keys
from node.ledger import Ledger
from node.looks import Looks
from node.network import Network, connect_node
from node.self_placing import SelfPlacing
from node.server import StageServer
from node.settings import NodeSettings
from node.settlement import Settlement, keep_settling
from node.stage_context import StageContext, StageLimits
from node.store import Store
from node.transactions import keep_ticking
from node.worker import Worker
from node.wss import WssTransport
from sharding.engine import Engine
from verification.addresses import to_address
from verification.routes import profile_id

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.25


def stage_limits(settings: NodeSettings) -> StageLimits:
    """What the operator lets strangers use."""
    return StageLimits(
        sessions=settings.max_sessions,
        sessions_per_client=settings.max_sessions_per_client,
        idle_seconds=settings.session_idle_seconds,
        batch_rows=settings.batch_tokens,
        waiting_rows=settings.max_waiting_tokens,
        cache_bytes=settings.cache_megabytes << 20,
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
            network = connect_node(settings)
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


def settle_interval(settings: NodeSettings, network: Network) -> float:
    """Seconds between rounds: several must fit into the time that a payer waits for its money back."""
    return min(settings.settle_every_seconds, network.deployment.params.close_delay_s / 4)


@dataclass(frozen=True, slots=True)
class Serving:
    """What a node that has started says of itself."""

    endpoint: str
    profile: str
    blocks: str


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
        self._placing: SelfPlacing | None = None
        self._records: ChainRecords | None = None
        self._asking: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def start(self) -> Serving:
        """Bring everything up; returns the endpoint that others dial, and the profile."""
        settings = self._settings
        keys = load_keys(settings)
        network = await asyncio.to_thread(wait_for_stake, settings, keys, self._wait_seconds, self._cancelled)
        self._records = records = await asyncio.to_thread(ChainRecords.open, network, keys.signer, settings)
        wishes, directory = records.wishes, Directory(network, view=records.view)
        source = EngineSource(settings)
        engines = await self._worker.run(source.first)
        source.limit_threads()  # for passes of a moment, which run on this thread
        engine = engines[0]
        ledger = Ledger(self._store)
        context = self._context(keys, network, directory, source, engines, ledger)
        self._server, self._gossip = StageServer(context), context.gossip
        minimum = max(1, settings.collect_minimum_units)
        self._settle_every = settle_interval(settings, network)
        looks = Looks.within(network.deployment.params.close_delay_s / 2, self._settle_every)
        self._settlement = Settlement(network, ledger, keys.signer, self._server.is_busy, minimum, wishes, looks)
        self._duty = EpochDuty(network, ledger, keys.signer, to_address(settings.owner))
        await self._server.hosting.try_speeds()
        if settings.places_itself:
            self._server.hosting.retire(self._server.hosting.spans)
        listener = await self._server.start(settings.host, settings.port)
        endpoint = settings.endpoint or listener.endpoint
        await self._introduce(Announcer(network, settings, keys, engine.manifest.root, endpoint, wishes), context)
        serving = Serving(endpoint, engine.profile, ",".join(map(str, self._server.hosting.spans)))
        self._write_status(serving, keys)
        return serving

    async def _introduce(self, announcer: Announcer, context: StageContext) -> None:
        """Have the others know of this node, and find a place where it has none."""
        server, gossip = self._server, self._gossip
        if server is None or gossip is None:
            return
        if announcer.settings.places_itself:
            self._placing = SelfPlacing(announcer.settings, gossip, announcer, server.hosting)
            await self._placing.join(self._author(announcer, context, server))
        else:
            await asyncio.to_thread(announcer.exactly, announcer.settings.spans)
            gossip.author = self._author(announcer, context, server)

    def _author(self, announcer: Announcer, context: StageContext, server: StageServer) -> Author:
        """What signs this node's records."""
        terms, keys = context.terms, announcer.keys
        peer, profile = keys.identity.peer, profile_id(terms.profile)
        service = Service(terms.node, peer, announcer.endpoint, terms.manifest, profile, terms.least_ask)

        async def load() -> StageLoad:
            told = await stage_load(server.hosting, draining=server.draining)
            return told if self._placing is None else replace(told, placement=self._placing.claim)

        author = Author(service, keys.signer, context.network.hello_domain, load)
        if terms.asks is not None:
            every = self._settings.ask_epoch_seconds
            self._asking = partial(keep_asking, terms.asks, server.hosting, every, author.ask)
        return author

    def _context(
        self, keys: NodeKeys, network: Network, directory: Directory, source: EngineSource,
        engines: tuple[Engine, ...], ledger: Ledger,
    ) -> StageContext:  # fmt: skip
        settings, engine = self._settings, engines[0]
        transport = WssTransport(keys.signer, network.hello_domain, keys.identity)
        self._transport = transport
        terms = StageTerms(
            node=to_address(settings.owner),
            num_blocks=engine.spec.num_blocks,
            manifest=engine.manifest.root,
            profile=engine.profile,
            ask=settings.ask_units,
            max_window=settings.max_window_tokens,
            max_positions=engine.spec.max_positions,
            asks=Asks(settings.ask_floor_units, settings.ask_units) if settings.asks_by_itself else None,
        )
        gossip = Gossip(GossipParts(network, directory, transport, settings.gossip_seconds))
        return StageContext(
            terms, network, directory, engines, self._worker, ledger, keys.signer, transport, stage_limits(settings), gossip,
            source.load,
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
            *([asyncio.create_task(self._asking())] if self._asking else []),
            *([asyncio.create_task(keep_ticking(self._records.sender))] if self._records else []),
            *([asyncio.create_task(keep_duty(self._duty))] if self._settings.keep_scores else []),
            *([asyncio.create_task(self._gossip.run())] if self._gossip and not self._placing else []),
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
            if self._placing is not None:
                began = time.monotonic()
                await self._placing.leave(grace)
                grace = max(0.0, grace - (time.monotonic() - began))
            await server.drain(grace)
        finally:
            reporting.cancel()
        log.info("drained: no session is left")
        stop.set()

    async def _say_farewell(self, server: StageServer) -> None:
        """Else clients would come, and others rely on this node's blocks, for as long as its last record counts."""
        server.draining = True
        if self._gossip is not None:
            await self._gossip.farewell()

    async def close(self) -> None:
        """Say farewell, close streams, free the engine, release the data directory."""
        self._cancelled.set()
        if self._placing is not None:
            await self._placing.close()
        if self._server is not None:
            await self._say_farewell(self._server)
            await self._server.close()
        if self._transport is not None:
            await self._transport.close()
        self._worker.close()
        if self._records is not None:
            self._records.close()
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
