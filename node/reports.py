"""What a client asks for, and what it hands over at the end: the request, the bill, the stages that were lost on the way."""

from dataclasses import dataclass

from incentives.payees import Payee
from node.route_run import RouteRun
from sharding.sampling import SamplingParams
from verification.routes import Route


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate."""

    prompt: tuple[int, ...]
    sampling: SamplingParams
    max_tokens: int
    max_price: int
    """The most that one token may cost through all stages, in the smallest unit."""
    stop_tokens: frozenset[int] = frozenset()
    is_urgent: bool = False
    """Pay every stage twice its ask, to go before those who do not."""
    distinct_owners: bool = False
    """No two stages of one owner."""


@dataclass(frozen=True, slots=True)
class StageBill:
    """One stage's part of the bill, in the smallest unit."""

    payee: Payee
    blocks: str
    ask: int
    amount: int
    stage: int = 0
    route: int = 0
    """Which of the answer's routes, where a lost stage made it take several."""


@dataclass(frozen=True, slots=True)
class ChannelBill:
    """One channel that an answer was paid through: all that was ever promised on it, and to whom."""

    channel: bytes
    promised: int
    payees: tuple[Payee, ...]
    """The stages, and the audit pool."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """A stage that was lost in the middle, and what going on without it took."""

    stage: int
    node: str
    reason: str
    replacement: str
    replayed: int
    """Tokens that some stage had to compute again, at the prefill price."""
    seconds: float
    """From noticing the loss to the next token."""


@dataclass(frozen=True, slots=True)
class Report:
    """A finished generation. Seconds are wall time; amounts in the smallest unit."""

    route: Route
    """The last one."""
    tokens: tuple[int, ...]
    prompt_tokens: int
    paid: int
    stages: tuple[StageBill, ...]
    """Of all routes, in their order."""
    pool: int
    """What the audit pool has of it."""
    channel: bytes
    """The last route's."""
    channels: tuple[ChannelBill, ...]
    first_token_seconds: float
    decode_seconds: float
    reused: int = 0
    """Tokens of the prompt that all stages still had from an earlier session."""
    recoveries: tuple[Recovery, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """Decode speed: tokens after the first over the time they took."""
        return (len(self.tokens) - 1) / self.decode_seconds if self.decode_seconds > 0 else 0.0


def channel_bill(run: RouteRun) -> ChannelBill:
    return ChannelBill(run.opened.channel.channel, run.promised, run.opened.payees)


def bills_of(run: RouteRun, number: int) -> list[StageBill]:
    opened = run.opened
    return [
        StageBill(payee, f"{stage.start}:{stage.end}", stage.ask, payee.share_of(run.paid), place, number)
        for place, (payee, stage) in enumerate(zip(opened.payees[:-1], opened.route.stages, strict=True))
    ]


def pool_of(run: RouteRun) -> int:
    """The audit pool's part of what a route was paid: its share is the last."""
    return run.opened.payees[-1].share_of(run.paid)
