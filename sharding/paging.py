"""Pages of a KV cache: which are free, who holds which, and which full ones can be used again. Bookkeeping only.

A page is PAGE_POSITIONS positions of one session through all blocks of a span. A full page may be shared: by sessions
that began alike, and by the prefix cache, which remembers pages by a key until somebody needs the room.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Sequence

PAGE_POSITIONS = 64
"""Also the run of positions that the compiled attention reads at a time."""


def pages_for(positions: int) -> int:
    """How many pages hold so many positions."""
    return -(-positions // PAGE_POSITIONS)


class PagePool:
    """A fixed number of pages. The lowest free one is given out first, so that memory which was never needed is never touched."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._fresh = 0  # pages from here on were never used
        self._returned: list[int] = []
        self._holders: Counter[int] = Counter()
        self._cached: OrderedDict[bytes, int] = OrderedDict()  # the least recently used first
        self._keys: dict[int, bytes] = {}
        self._idle = 0
        """Pages that only the prefix cache holds: as good as free."""

    @property
    def free(self) -> int:
        """Pages that can be had now, those of the prefix cache that nobody uses among them."""
        return self.total - self._fresh + len(self._returned) + self._idle

    def take(self, count: int) -> list[int] | None:
        """Give out pages, dropping the least recently used of the prefix cache if it must be; None where there are too few."""
        if count > self.free:
            return None
        return [self._take_one() for _ in range(count)]

    def _take_one(self) -> int:
        if self._returned:
            page = heapq.heappop(self._returned)
        elif self._fresh < self.total:
            page, self._fresh = self._fresh, self._fresh + 1
        else:
            page = self._evict()
        self._holders[page] = 1
        return page

    def _evict(self) -> int:
        key, page = next((key, page) for key, page in self._cached.items() if not self._holders[page])
        self._forget(key, page)
        self._idle -= 1
        return page

    def _forget(self, key: bytes, page: int) -> None:
        del self._cached[key], self._keys[page]

    def release(self, pages: Sequence[int]) -> None:
        """One holder lets go of pages."""
        for page in pages:
            self._holders[page] -= 1
            if self._holders[page]:
                continue
            del self._holders[page]
            if page in self._keys:
                self._idle += 1
            else:
                heapq.heappush(self._returned, page)

    def is_shared(self, page: int) -> bool:
        """Whether writing to a page would change what somebody else reads."""
        return self._holders[page] > 1 or page in self._keys

    def is_only_remembered(self, page: int) -> bool:
        """Whether the prefix cache is all that shares a page with its one holder."""
        return self._holders[page] == 1 and page in self._keys

    def forget(self, page: int) -> None:
        """Have the prefix cache remember a page that is in use no more. Raises: KeyError."""
        self._forget(self._keys[page], page)

    def publish(self, keys: Sequence[bytes], pages: Sequence[int]) -> None:
        """Remember full pages by their keys; a key that is known already keeps its page."""
        for key, page in zip(keys, pages, strict=True):
            if key not in self._cached and page not in self._keys:
                self._cached[key], self._keys[page] = page, key
            if key in self._cached:
                self._cached.move_to_end(key)

    def known(self, keys: Sequence[bytes]) -> int:
        """How many of the keys, from the first on without a gap, are remembered."""
        return next((place for place, key in enumerate(keys) if key not in self._cached), len(keys))

    def adopt(self, keys: Sequence[bytes]) -> list[int]:
        """Become a holder of the pages of keys that are known, all of them. Raises: KeyError."""
        pages = [self._cached[key] for key in keys]
        for key, page in zip(keys, pages, strict=True):
            self._idle -= not self._holders[page]
            self._holders[page] += 1
            self._cached.move_to_end(key)
        return pages

    def forget_all(self) -> None:
        """Empty the prefix cache; pages in use stay with their holders."""
        for key, page in list(self._cached.items()):
            self._forget(key, page)
            if not self._holders[page]:
                heapq.heappush(self._returned, page)
        self._idle = 0
