"""Several endpoints of one chain behind one question: checked before first use, passed over when behind, failed over.

The pool stays with an endpoint as long as that answers: hopping would show one reader two different pasts. Whoever
must read several things of one moment takes `bound()`, which never changes its endpoint.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from incentives.client_errors import StaleChain
from incentives.clock import SYSTEM_CLOCK, Clock
from incentives.endpoint_health import (
    MAX_FUTURE_S,
    MIN_FOR_ONE_LIAR,
    NO_LIMITS,
    Endpoint,
    EndpointHealth,
    HeadLimits,
    staleness,
)
from incentives.errors import ChainError, ChainUnavailable, UnexpectedAnswer, WrongChain
from incentives.failover import may_go_elsewhere, worse
from incentives.json_rpc import Rpc
from incentives.rpc_values import data, quantity

ROUNDS = 3
"""How often one question goes round the endpoints."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0
_WRITES = frozenset({"eth_sendRawTransaction"})
_FINDS = frozenset({"eth_getTransactionReceipt", "eth_getTransactionByHash"})
_log = logging.getLogger(__name__)
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class BoundEndpoint:
    """One endpoint of the pool for questions that belong together. Its failures count in the pool."""

    endpoint: Endpoint
    chain_id: int

    @property
    def url(self) -> str:
        """Without secrets."""
        return self.endpoint.rpc.shown

    def ask(self, method: str, params: list[Any]) -> Any:
        """The `result`, of this endpoint or of nobody. Raises: as Rpc.ask."""
        return self.endpoint.ask(method, params)

    def code(self, address: str) -> bytes:
        """The program at an address; empty for a plain account."""
        return data(self.url, "code", self.ask("eth_getCode", [address, "latest"]))


class EndpointPool:
    """The endpoints of one chain, the preferred one first. Threads may share it."""

    def __init__(
        self,
        rpcs: Sequence[Rpc],
        deadline_s: float,
        expected_chain_id: int | None = None,
        limits: HeadLimits = NO_LIMITS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Asks nobody yet. Without an expected chain id, the first endpoint that answers sets it."""
        if not rpcs:
            raise ChainUnavailable("no URL", "no endpoint is configured")
        self._endpoints = tuple(Endpoint(rpc, clock) for rpc in rpcs)
        self.limits = limits
        self._deadline_s, self._clock = deadline_s, clock
        self._chain_id = expected_chain_id
        self._check: Callable[[BoundEndpoint], None] | None = None
        self._current = self._endpoints[0]
        self._heads, self._heads_at = threading.Lock(), -float("inf")

    @property
    def chain_id(self) -> int:
        """The one chain that all endpoints must be of. Raises: as ask."""
        return self.bound().chain_id

    def ask(self, method: str, params: list[Any]) -> Any:
        """The `result`. Reads go from endpoint to endpoint in bounded rounds until the deadline; a transaction is offered
        to each endpoint at most once; transactions are looked for everywhere.

        Raises: ChainUnavailable, StaleChain, WrongChain, CodeMismatch, Reverted, TransactionRefused, UnexpectedAnswer.
        """
        if method in _WRITES:
            return self._offer(method, params, everywhere=False)
        result = self._through(lambda endpoint: endpoint.ask(method, params))
        return self._find(method, params) if result is None and method in _FINDS else result

    def spread(self, method: str, params: list[Any]) -> Any:
        """Offer a transaction to every endpoint, once: one that takes transactions may keep them to itself. Raises: as ask."""
        return self._offer(method, params, everywhere=True)

    def ask_each(self, question: Callable[[BoundEndpoint], _Found]) -> list[_Found]:
        """What every endpoint in use says, each asked by itself: one that lies is not alone. Raises: as ask, when none answers."""
        asked = list[Endpoint]()

        def use(endpoint: Endpoint) -> _Found:
            result = question(BoundEndpoint(endpoint, self._pinned()))
            asked.append(endpoint)
            return result

        first = self._through(use)
        return [first, *self._others(asked[0], self._admit_by_itself, use)]

    def bound(self) -> BoundEndpoint:
        """The endpoint that would be asked now. Raises: as ask."""
        return self._through(lambda endpoint: BoundEndpoint(endpoint, self._pinned()))

    def require(self, check: Callable[[BoundEndpoint], None]) -> None:
        """Run `check` on every endpoint before its next use; it raises a ChainError for one that must not be used.

        Raises: as ask, when none passes.
        """
        self._check = check
        for endpoint in self._endpoints:
            endpoint.admitted = False
        self.bound()

    def health(self) -> tuple[EndpointHealth, ...]:
        """What is known about each endpoint, in the configured order."""
        return tuple(endpoint.health() for endpoint in self._endpoints)

    def survey(self) -> tuple[EndpointHealth, ...]:
        """Ask each endpoint now, rested or not, for its chain, its code and its newest block; then as `health`."""
        heard = []
        for endpoint in self._endpoints:
            try:
                self._introduce(endpoint)
                endpoint.read_head()
                heard.append(endpoint)
            except ChainError as error:
                endpoint.refused = error
        for endpoint in heard:
            self._judge_head(endpoint)
        return self.health()

    def _through(self, use: Callable[[Endpoint], _Found]) -> _Found:
        """Use the first endpoint that can be used, in bounded rounds; raise the last failure."""
        until, dropped, failure = self._clock.monotonic() + self._deadline_s, set[int](), None
        for endpoint in self._tries():
            if id(endpoint) in dropped:
                continue
            if failure is not None and self._clock.monotonic() >= until:
                break
            try:
                self._admit(endpoint)
                result = use(endpoint)
            except ChainError as error:
                if not may_go_elsewhere(error):
                    raise
                failure = worse(failure, error)
                if not isinstance(error, ChainUnavailable):
                    dropped.add(id(endpoint))  # it would say the same again
                if len(dropped) == len(self._endpoints):
                    break
                continue
            self._current = endpoint
            return result
        raise failure or ChainUnavailable(self._endpoints[0].rpc.shown, "no time was left to ask")

    def _tries(self) -> Iterator[Endpoint]:
        for number in range(ROUNDS):
            if number:
                self._clock.sleep(min(FIRST_PAUSE_S * 2 ** (number - 1), LAST_PAUSE_S))
            yield from self._ranked()

    def _ranked(self) -> list[Endpoint]:
        current = self._current
        return sorted(self._endpoints, key=lambda one: (one.resting, one is not current, one.rank))

    def _offer(self, method: str, params: list[Any], *, everywhere: bool) -> Any:
        """Offer a transaction until somebody takes it; after a silence, no refusal proves that nobody has it."""
        doubt: ChainError | None = None
        failure: ChainError | None = None
        taken = list[Any]()
        for endpoint in self._ranked():
            try:
                self._admit(endpoint)
            except ChainError as error:
                failure = worse(failure, error)
                continue
            try:
                taken.append(endpoint.ask(method, params))
                if not everywhere:
                    break
            except (ChainUnavailable, UnexpectedAnswer) as error:
                doubt = error
            except ChainError as error:
                if not (everywhere or may_go_elsewhere(error)):
                    raise doubt or error from None
                failure = worse(failure, error)
        if taken:
            return taken[0]
        raise doubt or failure or ChainUnavailable(self._endpoints[0].rpc.shown, "nobody was asked")

    def _find(self, method: str, params: list[Any]) -> Any:
        """The first answer that is not null, of the endpoints that were not asked yet; those behind may still know it."""
        answers = self._others(self._current, self._introduce, lambda endpoint: endpoint.ask(method, params))
        return next((answer for answer in answers if answer is not None), None)

    def _others(
        self, asked: Endpoint, admit: Callable[[Endpoint], None], use: Callable[[Endpoint], _Found]
    ) -> Iterator[_Found]:
        """What all but one say; those that rest or fail say nothing."""
        for endpoint in self._ranked():
            if endpoint is asked or endpoint.resting:
                continue
            try:
                admit(endpoint)
                result = use(endpoint)
            except ChainError as error:
                _log.info("endpoint_silent url=%s reason=%s", endpoint.rpc.shown, error)
                continue
            yield result

    def _admit(self, endpoint: Endpoint) -> None:
        """Raises: WrongChain, CodeMismatch, StaleChain, and as ask."""
        self._introduce(endpoint)
        if self.limits.off:
            return
        self._read_heads()
        self._judge_head(endpoint)
        if endpoint.refused is not None:
            raise endpoint.refused

    def _admit_by_itself(self, endpoint: Endpoint) -> None:
        """As `_admit`, however far ahead others say they are: one that makes up blocks must not silence the rest."""
        self._introduce(endpoint)
        if self.limits.off:
            return
        self._read_heads()
        head = endpoint.head or endpoint.read_head()
        reason = staleness(head, head.number, self._clock.now(), self.limits)
        if reason is not None:
            raise StaleChain(endpoint.rpc.shown, reason)

    def _judge_head(self, endpoint: Endpoint) -> None:
        head = endpoint.head or endpoint.read_head()
        reason = staleness(head, self._best(), self._clock.now(), self.limits)
        endpoint.refused = None if reason is None else StaleChain(endpoint.rpc.shown, reason)

    def _introduce(self, endpoint: Endpoint) -> None:
        """Check chain and code, once until the next failure. One thread does it, others wait for its result."""
        with endpoint.admitting:
            if endpoint.admitted:
                return
            try:
                self._check_chain(endpoint)
                if self._check is not None:
                    self._check(BoundEndpoint(endpoint, self._pinned()))
            except ChainError as error:
                if str(error) != str(endpoint.refused):  # once, however often it is tried
                    _log.warning("endpoint_refused url=%s reason=%s", endpoint.rpc.shown, error)
                endpoint.refused = error
                raise
            endpoint.admitted, endpoint.refused = True, None

    def _check_chain(self, endpoint: Endpoint) -> None:
        actual = quantity(endpoint.rpc.shown, "the chain id", endpoint.ask("eth_chainId", []))
        if self._chain_id is None:
            self._chain_id = actual
        if actual != self._chain_id:
            raise WrongChain(endpoint.rpc.shown, self._chain_id, actual)

    def _pinned(self) -> int:
        if self._chain_id is None:
            raise ChainUnavailable(self._endpoints[0].rpc.shown, "nobody has told the chain id")
        return self._chain_id

    def _read_heads(self) -> None:
        """Ask every endpoint that is awake for its newest block, unless that was done a moment ago."""
        with self._heads:
            if self._clock.monotonic() - self._heads_at < self.limits.recheck_s:
                return
            for endpoint in self._endpoints:
                if endpoint.resting:
                    continue
                try:
                    self._introduce(endpoint)
                    endpoint.read_head()
                except ChainError as error:
                    _log.info("endpoint_silent url=%s reason=%s", endpoint.rpc.shown, error)
            self._heads_at = self._clock.monotonic()

    def _best(self) -> int:
        """The highest block that an endpoint in use told of; with three or more, that two did: one liar makes none late."""
        latest = self._clock.now() + MAX_FUTURE_S
        heads = [one.head for one in self._endpoints if one.admitted and one.head and one.head.timestamp <= latest]
        numbers = sorted(head.number for head in heads)
        return 0 if not numbers else numbers[-2] if len(numbers) >= MIN_FOR_ONE_LIAR else numbers[-1]
