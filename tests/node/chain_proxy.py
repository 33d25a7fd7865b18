"""A JSON-RPC server before a real chain that answers some questions itself, and may be switched off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import answered
from tests.incentives.fake_rpc import HttpReply, RpcRefusal, serving


@dataclass
class ChainProxy:
    """What stands between a client and a chain; `own` answers instead of it, `before` hears of each question first."""

    upstream: str
    own: dict[str, Any] = field(default_factory=dict)
    before: Callable[[str, list[Any]], None] = lambda _method, _params: None
    down: bool = False
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, params: list[Any]) -> Any:
        """As fake_rpc.Answer."""
        if self.down:
            raise HttpReply(b"", 503)
        self.asked.append(method)
        self.before(method, params)
        if method in self.own:
            own = self.own[method]
            return own(*params) if callable(own) else own
        return self.forward(method, *params)

    def forward(self, method: str, *params: Any) -> Any:
        """The chain's answer, or its error."""
        answer = answered(self.upstream, method, *params)
        if answer.get("error") is not None:
            raise RpcRefusal(answer["error"])
        return answer["result"]


@contextmanager
def proxying(upstream: str, **own: Any) -> Iterator[ChainProxy]:
    """Serve on loopback."""
    proxy = ChainProxy(upstream, own)
    with serving(proxy.answer) as url:
        proxy.url = url
        yield proxy
