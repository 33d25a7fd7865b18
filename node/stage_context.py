"""What a stage server works with, and what it lets strangers use."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from incentives.signing import Signer
from node.admission import StageTerms
from node.directory import Directory
from node.gossip import Gossip
from node.hosted import Loader, Means
from node.kept import KEEP_SECONDS
from node.ledger import Ledger
from node.network import Network
from node.transport import Transport
from node.worker import Worker
from sharding.batch_runner import DEFAULT_SWAP_BYTES
from sharding.engine import Engine
from sharding.errors import EngineError
from sharding.paged_sessions import DEFAULT_CACHE_BYTES
from sharding.scheduler import DEFAULT_BUDGET
from sharding.span import Span

DEFAULT_LOG_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class StageLimits:
    """What one node takes on, in all of its spans together. Sizes in bytes, times in seconds."""

    sessions: int = 64
    sessions_per_client: int = 16
    idle_seconds: float = 60.0
    batch_rows: int = DEFAULT_BUDGET
    waiting_rows: int = 4096
    """Past this a new session is told to come back later."""
    cache_bytes: int = DEFAULT_CACHE_BYTES
    swap_bytes: int = DEFAULT_SWAP_BYTES
    log_bytes: int = DEFAULT_LOG_BYTES
    keep_seconds: float = KEEP_SECONDS
    reuses_prefixes: bool = True


def no_others(span: Span, cache_bytes: int, have: Sequence[Engine]) -> Engine:
    """The loader of a node that hosts what it has. Raises: EngineError."""
    raise EngineError(f"this node does not load blocks {span}: it was given its engines")


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage server works with. engines: what is hosted at first; load: how there come to be others."""

    terms: StageTerms
    network: Network
    directory: Directory
    engines: tuple[Engine, ...]
    worker: Worker
    ledger: Ledger
    signer: Signer
    transport: Transport
    limits: StageLimits = field(default_factory=StageLimits)
    gossip: Gossip | None = None
    load: Loader = no_others

    @property
    def means(self) -> Means:
        """What hosting goes by."""
        limits = self.limits
        return Means(self.worker, self.load, limits.cache_bytes, limits.swap_bytes, limits.batch_rows)
