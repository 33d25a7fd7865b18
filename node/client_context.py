"""What a client works with."""

from dataclasses import dataclass

from incentives.signing import Signer
from node.channel_book import ChannelBook
from node.directory import Directory
from node.gossip import Gossip
from node.known_scores import KnownScores
from node.network import Network
from node.transport import Transport

DEFAULT_WINDOW_TOKENS = 16
DEFAULT_PRICE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """What the client wants to be computed, as its own copy of the model's configuration and manifest says."""

    manifest: bytes
    profile: str
    num_blocks: int
    vocab_size: int
    max_positions: int


@dataclass(frozen=True, slots=True)
class ClientContext:
    """What a client works with."""

    network: Network
    directory: Directory
    transport: Transport
    signer: Signer
    book: ChannelBook
    model: ModelTerms
    window: int = DEFAULT_WINDOW_TOKENS
    keeps_reserve: bool = True
    """Deposit what a second route would cost, so that a lost stage is replaced without waiting for a block."""
    gossip: Gossip | None = None
    """Where records come from; without it the chain's announcements have to do."""
    scores: KnownScores | None = None
    """What the chain says of nodes; without it routes go by what the client has seen itself."""
    price_seconds: float = DEFAULT_PRICE_SECONDS
    """The most that a request may cost per token counts like this many seconds per token; more makes routes cheaper and slower."""
