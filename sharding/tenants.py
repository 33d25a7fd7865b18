"""The sessions that were opened on one engine: who goes before whom, what each was promised, who gave its cache up."""

from dataclasses import dataclass

from sharding.errors import SessionExists, UnknownSession


@dataclass(slots=True)
class Tenant:
    """A session's place in the queue, and how many positions have pages promised."""

    age: int
    priority: int
    promised: int
    lost: int = 0
    """Positions that were given up for others, until the session begins again."""

    @property
    def rank(self) -> tuple[int, int]:  # a sort key
        """The highest priority first, then the oldest."""
        return -self.priority, self.age

    def give_up(self, positions: int) -> None:
        """It has no cache any more, and is promised room for what it had."""
        self.lost = positions
        self.promised = max(self.promised, positions)


class Tenants(dict[bytes, Tenant]):
    """By their sessions' names."""

    def __init__(self) -> None:
        super().__init__()
        self._ages = 0

    def enter(self, session: bytes, priority: int, promised: int) -> None:
        """Raises SessionExists."""
        if session in self:
            raise SessionExists(session)
        self._ages += 1
        self[session] = Tenant(self._ages, priority, promised)

    def find(self, session: bytes) -> Tenant:
        """Raises UnknownSession."""
        if session not in self:
            raise UnknownSession(session)
        return self[session]

    def rank(self, session: bytes) -> tuple[int, int]:
        """As a tenant's; an unknown one comes before those of the lowest priority, and fails."""
        tenant = self.get(session)
        return (0, 0) if tenant is None else tenant.rank

    def is_first(self, session: bytes) -> bool:
        """Whether it is the oldest of the highest priority."""
        return session == min(self, key=self.rank, default=None)

    def below(self, session: bytes) -> list[bytes]:
        """Those who come after it, the last one first."""
        own = self.rank(session)
        return sorted((name for name in self if self.rank(name) > own), key=self.rank, reverse=True)
