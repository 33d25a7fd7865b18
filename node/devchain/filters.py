"""eth_getLogs: which logs of which blocks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eth.abc import LogAPI

from node.devchain import params, shapes
from node.devchain.backend import EmbeddedChain, Mined
from node.devchain.errors import InvalidParams

MAX_TOPICS = 4
MAX_ALTERNATIVES = 1000
_FIELDS = {"address", "topics", "fromBlock", "toBlock", "blockHash"}


@dataclass(frozen=True, slots=True)
class LogFilter:
    """None accepts everything; topics are compared as integers, as py-evm keeps them."""

    addresses: frozenset[bytes] | None
    topics: tuple[frozenset[int] | None, ...]

    def accepts(self, entry: LogAPI) -> bool:
        if self.addresses is not None and entry.address not in self.addresses:
            return False
        if len(entry.topics) < len(self.topics):
            return False
        return all(wanted is None or got in wanted for wanted, got in zip(self.topics, entry.topics, strict=False))


def logs(chain: EmbeddedChain, value: Any) -> list[dict[str, Any]]:
    """The logs that a filter selects, oldest first. InvalidParams for a malformed filter or an unknown block."""
    if not isinstance(value, dict) or set(value) - _FIELDS:
        raise InvalidParams(f"expected a filter object with {', '.join(sorted(_FIELDS))}")
    wanted = LogFilter(_addresses(value.get("address")), _topics(value.get("topics")))
    return [
        shapes.log(mined, index)
        for mined in _range(chain, value)
        if mined.receipt is not None
        for index, entry in enumerate(mined.receipt.logs)
        if wanted.accepts(entry)
    ]


def _range(chain: EmbeddedChain, value: Mapping[str, Any]) -> Iterator[Mined]:
    if value.get("blockHash") is not None:
        if value.get("fromBlock") is not None or value.get("toBlock") is not None:
            raise InvalidParams("cannot specify both blockHash and fromBlock/toBlock, choose one or the other")
        return iter([chain.at(params.word(value["blockHash"]))])
    first = chain.at(params.block_ref(value.get("fromBlock"))).number
    return chain.blocks(first, _last(chain, params.block_ref(value.get("toBlock"))))


def _last(chain: EmbeddedChain, ref: params.BlockRef) -> int:
    """A range may end past the head: it then ends at the head."""
    return min(ref, chain.head.number) if isinstance(ref, int) else chain.at(ref).number


def _addresses(value: Any) -> frozenset[bytes] | None:
    if value is None or value == []:
        return None
    return frozenset(params.address(one) for one in _alternatives(value))


def _topics(value: Any) -> tuple[frozenset[int] | None, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_TOPICS:
        raise InvalidParams(f"expected at most {MAX_TOPICS} topics")
    return tuple(_topic(one) for one in value)


def _topic(value: Any) -> frozenset[int] | None:
    if value is None or value == []:
        return None
    return frozenset(int.from_bytes(params.word(one), "big") for one in _alternatives(value) if one is not None)


def _alternatives(value: Any) -> list[Any]:
    found = value if isinstance(value, list) else [value]
    if len(found) > MAX_ALTERNATIVES:
        raise InvalidParams(f"{len(found)} alternatives are past the limit of {MAX_ALTERNATIVES}")
    return found
