"""Prompts that begin alike: one client's sessions share the pages of what they have in common.

The client names each page of 64 tokens by a hash over all tokens up to its end; a stage remembers pages under the
client's own address and for the blocks that it computed, so nobody's cache tells another client what was asked, and nobody
can put anything into another's. Across clients nothing is shared: a later stage sees no tokens, and could not tell a wrong
page from a right one.
"""

from collections import OrderedDict
from collections.abc import Sequence

from node.admission import Admitted
from node.batcher import Batcher
from node.kept import Kept
from node.messages import MAX_PREFIX_KEYS
from sharding.hashing import keccak256
from sharding.paging import PAGE_POSITIONS
from verification.addresses import address_bytes


def prefix_keys(tokens: Sequence[int]) -> tuple[bytes, ...]:
    """The names of a prompt's full pages, in their order, each for all tokens up to its end."""
    keys, key = [], b""
    for end in range(PAGE_POSITIONS, len(tokens) + 1, PAGE_POSITIONS)[:MAX_PREFIX_KEYS]:
        page = b"".join(token.to_bytes(4, "big") for token in tokens[end - PAGE_POSITIONS : end])
        key = keccak256(b"tallystick.prefix" + key + page)
        keys.append(key)
    return tuple(keys)


class Prefixes:
    """What a stage remembers of its clients' prompts."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._tokens: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()
        """A first stage has to know the tokens of a page it reuses: the route commits to them."""

    async def adopt(self, kept: Kept, admitted: Admitted, keys: Sequence[bytes]) -> list[int]:
        """Begin a session with the pages that are known; returns their tokens, on a first stage."""
        own = self._own_keys(admitted, keys)
        if admitted.is_first:
            own = own[: next((i for i, key in enumerate(own) if key not in self._tokens), len(own))]
        length = await self._batcher.call(self._batcher.runner.adopt, kept.name, own)
        pages = own[: length // PAGE_POSITIONS]
        return [token for key in pages for token in self._tokens[key]] if admitted.is_first else []

    async def publish(self, kept: Kept, admitted: Admitted, keys: Sequence[bytes]) -> None:
        """Remember a session's prompt, as far as it was computed."""
        runner = self._batcher.runner
        length = await self._batcher.call(runner.length, kept.name)
        own = self._own_keys(admitted, keys)[: length // PAGE_POSITIONS]
        if admitted.is_first:
            own = self._checked(kept.tokens, admitted, keys)[: len(own)]
        await self._batcher.call(runner.publish, kept.name, own)

    def _own_keys(self, admitted: Admitted, keys: Sequence[bytes]) -> list[bytes]:
        """Of pages that end before the prompt's last token, which is always computed."""
        usable = keys[: (admitted.prompt_tokens - 1) // PAGE_POSITIONS]
        scope = address_bytes(admitted.client) + str(admitted.span).encode() + b"/"
        return [keccak256(scope + key) for key in usable]

    def _checked(self, tokens: Sequence[int], admitted: Admitted, keys: Sequence[bytes]) -> list[bytes]:
        """A first stage takes a client's names only where they are those of the tokens that came; it keeps these tokens."""
        own = []
        triples = zip(self._own_keys(admitted, keys), keys, prefix_keys(tokens), strict=False)
        for number, (name, key, true) in enumerate(triples):
            if key != true:
                break
            own.append(name)
            self._remember(name, tuple(tokens[number * PAGE_POSITIONS : (number + 1) * PAGE_POSITIONS]))
        return own

    def _remember(self, key: bytes, page: tuple[int, ...]) -> None:
        self._tokens[key] = page
        self._tokens.move_to_end(key)
        if len(self._tokens) > 2 * self._batcher.runner.engine.pages.total:
            self._tokens.popitem(last=False)
