"""A small network in one process for tests: a real chain, real contracts, real TLS, a tiny random model, a stage per span."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from incentives.chain import Web3Chain
from incentives.deploy import LOCAL_TESTNET, deploy_suite
from incentives.prices import with_pool
from incentives.signing import LocalSigner
from incentives.stakes import sign_consent
from incentives.units import ONE
from node.admission import StageTerms
from node.channel_book import ChannelBook
from node.client import Client
from node.client_context import ClientContext, ModelTerms
from node.directory import Directory
from node.hosted import by_blocks
from node.identity import NodeIdentity
from node.ledger import Ledger
from node.model_folder import engine_loader
from node.network import Network, from_deployment
from node.reports import Request
from node.server import StageServer
from node.settlement import Settlement
from node.stage_context import StageContext, StageLimits
from node.store import Store
from node.worker import Worker
from node.wss import WssTransport
from sharding.engine import Engine
from sharding.exact.quantise import quantise
from sharding.random_model import RandomShape, write_random_model
from sharding.sampling import SamplingParams
from sharding.span import Span
from verification.addresses import to_address

TINY = RandomShape(
    num_hidden_layers=6, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=96, max_position_embeddings=64, tie_word_embeddings=False,
)  # fmt: skip
PARAMS = replace(LOCAL_TESTNET, min_stake=100 * ONE, close_delay_s=10, maturity_s=1)
GREEDY = SamplingParams(0.0, 0, 1.0, 0)
LIMITS = StageLimits(sessions=8, idle_seconds=5.0)
ASK = 10**12
PER_TOKEN = with_pool((6 + 2) * ASK)
"""Of every route over the tiny model's blocks."""
CLIENT_ACCOUNT = 9


def write_tiny_model(folder: Path) -> Path:
    """A Llama of six small blocks, the same on every call."""
    return write_random_model(folder, TINY, seed=11)


def write_tiny_exact_model(folder: Path) -> Path:
    """The exact form of the same model."""
    quantise(write_tiny_model(folder / "float"), folder / "exact")
    return folder / "exact"


def deploy_network(url: str) -> Network:
    """Deploy the suite and give every test account tokens."""
    chain = Web3Chain(url)
    deployer = LocalSigner.dev_account(0, chain.chain_id)
    network = from_deployment(chain, deploy_suite(chain, deployer, PARAMS))
    for index in range(1, 10):
        account = LocalSigner.dev_account(index, chain.chain_id)
        network.token.transfer(deployer, account.address, 10_000 * ONE)
    return network


@dataclass
class Stage:
    """One running stage with all its parts at hand."""

    owner: LocalSigner
    signer: LocalSigner
    identity: NodeIdentity
    store: Store
    ledger: Ledger
    server: StageServer
    context: StageContext
    endpoint: str = ""

    @property
    def engine(self) -> Engine:
        """Of its first span."""
        return self.server.hosting.current[0].engine

    def settlement(self, network: Network) -> Settlement:
        """This node's money side."""
        return Settlement(network, self.ledger, self.signer)


@dataclass
class Swarm:
    """A running network and one client."""

    network: Network
    stages: list[Stage]
    client: Client
    context: ClientContext
    store: Store
    model: Path

    def forget_directories(self) -> None:
        """Have the client and the stages read the chain again before they next look at it."""
        for directory in (self.context.directory, *(stage.context.directory for stage in self.stages)):
            directory._read_at = -float("inf")

    @property
    def signer(self) -> LocalSigner:
        """The client's key."""
        return self.context.signer  # type: ignore[return-value]

    def client_with(self, **changes: object) -> Client:
        """The same client with something else in its context."""
        return Client(replace(self.context, **changes))  # type: ignore[arg-type]


def request(prompt: Sequence[int] = (5, 17, 3, 80), max_tokens: int = 20, sampling: SamplingParams = GREEDY) -> Request:
    """A small request without stop tokens."""
    return Request(tuple(prompt), sampling, max_tokens, 10**15)


async def generate(client: Client, wanted: Request) -> tuple[tuple[int, ...], object]:
    """Run a request to its end; returns the tokens and the report."""
    session = await client.open(wanted)
    try:
        tokens = tuple([token async for token in session.tokens()])
        return tokens, await session.finish()
    finally:
        await session.abandon()


def join_network(network: Network, owner: LocalSigner, signer: LocalSigner, peer: bytes, amount: int) -> None:
    """Bond a node, with some gas for its key."""
    network.chain.transfer_native(owner, signer.address, 10**18)
    network.stakes.join_with_permit(owner, sign_consent(signer, network.stakes.domain, owner.address, peer), amount)


@asynccontextmanager
async def running_stage(
    network: Network, model: Path, home: Path, account: int, span: Span, stake: int = 1_000 * ONE,
    others: tuple[Span, ...] = (), limits: StageLimits = LIMITS,
) -> AsyncIterator[Stage]:  # fmt: skip
    """Stake and run one node on a port of the system's choice; it announces the first of its spans."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    owner = LocalSigner.dev_account(account, network.chain.chain_id)
    key = home / "node-key"
    signer = LocalSigner.from_key_file(key) if key.exists() else LocalSigner.create_key_file(key)
    identity = NodeIdentity.load_or_create(home)
    if owner.address not in await asyncio.to_thread(network.stakes.identities):
        await asyncio.to_thread(join_network, network, owner, signer, identity.peer, stake)
    shares = by_blocks(limits.cache_bytes, (span, *others))
    engines = tuple(engine_loader(model)(model, each, cache_bytes=share) for each, share in shares.items())
    engine = engines[0]
    store, worker = Store(home), Worker()
    transport = WssTransport(signer, network.hello_domain, identity)
    terms = StageTerms(
        to_address(owner.address), engine.spec.num_blocks, engine.manifest.root, engine.profile, ASK, 64,
        engine.spec.max_positions,
    )  # fmt: skip
    ledger = Ledger(store)

    def load(each: Span, cache_bytes: int, have: Sequence[Engine]) -> Engine:
        return engine_loader(model)(model, each, cache_bytes=cache_bytes, reuse=have)

    context = StageContext(
        terms,
        network,
        Directory(network, 600.0),
        engines,
        worker,
        ledger,
        signer,
        transport,
        limits,
        load=load,
    )
    server = StageServer(context)
    listener = await server.start("127.0.0.1", 0)
    stage = Stage(owner, signer, identity, store, ledger, server, context, listener.endpoint)
    await asyncio.to_thread(
        network.stakes.announce,
        signer,
        owner.address,
        engine.manifest.root,
        span.start,
        span.end,
        ASK,
        listener.endpoint,
    )
    try:
        yield stage
    finally:
        await server.close()
        await transport.close()
        worker.close()
        store.close()


@asynccontextmanager
async def running_client(network: Network, model: Path, home: Path, stages: list[Stage]) -> AsyncIterator[Swarm]:
    """A client of running stages."""
    engine = stages[0].engine
    terms = ModelTerms(
        engine.manifest.root, engine.profile, engine.spec.num_blocks, engine.spec.vocab_size, engine.spec.max_positions
    )
    signer = LocalSigner.dev_account(CLIENT_ACCOUNT, network.chain.chain_id)
    store = Store(home)
    transport = WssTransport(signer, network.hello_domain)
    book = ChannelBook(store, network.money_domain)
    context = ClientContext(network, Directory(network, 600.0), transport, signer, book, terms, 4, keeps_reserve=False)
    client = Client(context)
    try:
        yield Swarm(network, stages, client, context, store, model)
    finally:
        await client.close()
        await transport.close()
        store.close()


@asynccontextmanager
async def running_swarm(
    network: Network, model: Path, home: Path, spans: Sequence[str] = ("0:2", "2:4", "4:6")
) -> AsyncIterator[Swarm]:
    """A stage per span and a client."""
    stages: list[Stage] = []
    stacks = []
    try:
        for index, span in enumerate(spans):
            stack = running_stage(network, model, home / f"node{index}", index + 1, Span.parse(span))
            stages.append(await stack.__aenter__())
            stacks.append(stack)
        async with running_client(network, model, home / "client", stages) as swarm:
            yield swarm
    finally:
        for stack in reversed(stacks):
            await stack.__aexit__(None, None, None)
