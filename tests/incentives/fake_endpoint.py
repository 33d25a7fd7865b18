"""Endpoints without a network and a clock that moves when it is told to."""

from collections.abc import Callable
from typing import Any

from incentives.clock import Clock
from incentives.errors import ChainUnavailable

CHAIN_ID = 31337
NOW = 1_700_000_000.0


class Hands:
    """The hands of a clock: sleeping moves them, nothing else does."""

    def __init__(self) -> None:
        self.at = NOW
        self.clock = Clock(now=lambda: self.at, monotonic=lambda: self.at, sleep=self.turn)

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds


class FakeRpc:
    """An endpoint with a chain id and a head; `on` gives other answers, `down` none at all."""

    def __init__(self, name: str, hands: Hands, number: int = 100, chain_id: int = CHAIN_ID) -> None:
        self.shown, self.hands, self.number, self.chain_id = f"http://{name}", hands, number, chain_id
        self.age_s, self.took_s, self.down = 0.0, 0.0, False
        self.on: dict[str, Callable[..., Any]] = {}
        self.asked: list[str] = []

    def ask(self, method: str, params: list[Any]) -> Any:
        """As Rpc.ask."""
        self.asked.append(method)
        self.hands.turn(self.took_s)
        if self.down:
            raise ChainUnavailable(self.shown, "down")
        if method in self.on:
            return self.on[method](*params)
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "eth_getBlockByNumber":
            return {"number": hex(self.number), "timestamp": hex(int(self.hands.at - self.age_s))}
        return f"{method} of {self.shown}"

    def count(self, method: str) -> int:
        """How often it was asked that."""
        return self.asked.count(method)


def raising(error: Exception) -> Callable[..., Any]:
    """An answer that is always this error."""

    def answer(*_: object) -> None:
        raise error

    return answer
