"""From text to text: the client together with a model folder's tokenizer. What `tally run` and the demo share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from incentives.signing import LocalSigner
from node.channel_book import ChannelBook
from node.client import Client
from node.client_context import DEFAULT_PRICE_SECONDS, DEFAULT_WINDOW_TOKENS, ClientContext, ModelTerms
from node.client_session import ClientSession, Listener
from node.directory import Directory
from node.gossip import Gossip, GossipParts
from node.known_scores import KnownScores
from node.network import Network
from node.reports import Report, Request
from node.store import Store
from node.wss import WssTransport
from sharding.manifest import read_manifest
from sharding.sampling import SamplingParams
from sharding.spec import ModelSpec
from sharding.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ClientModel:
    """What a client needs of a model: no weights."""

    tokenizer: Tokenizer
    terms: ModelTerms
    stop_tokens: frozenset[int]

    @classmethod
    def from_folder(cls, folder: Path, computed_from: Path | None = None) -> "ClientModel":
        """Read tokenizer, configuration and manifest. Raises: ShardingError.

        computed_from: the folder of the profile that is asked for (see resolve_model), where it is another one. Words
        are the folder's own in any case: no root covers them.
        """
        stop_tokens = frozenset(ModelSpec.from_folder(folder).eos_token_ids)
        return cls(Tokenizer.from_folder(folder), model_terms(computed_from or folder), stop_tokens)

    def request(self, prompt: str, sampling: SamplingParams, max_tokens: int, max_price: int) -> Request:
        """Tokenise a prompt. Raises: SamplingError."""
        sampling.validate()
        return Request(tuple(self.tokenizer.encode(prompt)), sampling, max_tokens, max_price, self.stop_tokens)


def model_terms(folder: Path) -> ModelTerms:
    """What to ask of nodes, in the profile of the folder's manifest. Raises: ShardingError."""
    spec, manifest = ModelSpec.from_folder(folder), read_manifest(folder)
    return ModelTerms(manifest.root, manifest.profile, spec.num_blocks, spec.vocab_size, spec.max_positions)


@asynccontextmanager
async def running_client(
    network: Network,
    terms: ModelTerms,
    signer: LocalSigner,
    data_dir: Path,
    window: int = DEFAULT_WINDOW_TOKENS,
    price_seconds: float = DEFAULT_PRICE_SECONDS,
) -> AsyncIterator[Client]:
    """A client with its store and transport, for the length of the block. Raises: StoreLocked."""
    store = Store(data_dir)
    transport = WssTransport(signer, network.hello_domain)
    book = ChannelBook(store, network.money_domain)
    directory = Directory(network)
    gossip, scores = Gossip(GossipParts(network, directory, transport)), KnownScores(network)
    context = ClientContext(
        network,
        directory,
        transport,
        signer,
        book,
        terms,
        window,
        gossip=gossip,
        scores=scores,
        price_seconds=price_seconds,
    )
    client = Client(context)
    try:
        yield client
    finally:
        await client.close()
        await scores.close()
        await gossip.close()
        await transport.close()
        store.close()


async def stream_text(session: ClientSession, model: ClientModel) -> AsyncIterator[str]:
    """Yield the text as it grows; a character that spans tokens comes whole. Stop tokens have no text."""
    decoder = model.tokenizer.stream()
    async for token in session.tokens():
        if token not in model.stop_tokens:
            yield decoder.push(token)
    yield decoder.finish()


@dataclass(frozen=True, slots=True)
class Generated:
    """A finished text with its bill."""

    text: str
    report: Report


async def generate_text(
    network: Network,
    model: ClientModel,
    signer: LocalSigner,
    request: Request,
    data_dir: Path,
    show: Callable[[str], None],
    on_recovery: Listener | None = None,
    on_open: Callable[[ClientSession], None] | None = None,
    price_seconds: float = DEFAULT_PRICE_SECONDS,
) -> Generated:
    """Open a route, generate and pay; `show` hears each piece of text as it arrives. Raises: as Client.open; SessionFailed.

    on_recovery hears of stages that were lost and replaced; on_open gets the session before its first token.
    """
    async with running_client(network, model.terms, signer, data_dir, price_seconds=price_seconds) as client:
        session = await client.open(request, on_recovery)
        if on_open is not None:
            on_open(session)
        pieces: list[str] = []
        try:
            async for piece in stream_text(session, model):
                pieces.append(piece)
                show(piece)
            return Generated("".join(pieces), await session.finish())
        finally:
            await session.abandon()
