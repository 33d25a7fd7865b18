"""Errors of records, measurements and routes.

NodeError
├── RecordRefused            a service record that this node does not keep
│   ├── RecordUnanchored     the chain says otherwise: owner, stake, peer or endpoint
│   ├── RecordOutOfTime      it has expired, or was issued in the future
│   ├── RecordConflict       another record of the same sequence came first
│   └── RecordBookFull       no room beside nodes that have as much at stake
├── MeasurementInvalid       a measured time or size that nothing can have
├── WishInvalid              a route that nobody can ask for
└── NoRoute
    └── NoDistinctRoute      only with one owner on two stages
"""

from node.errors import NodeError, NoRoute


class RecordRefused(NodeError):
    """A service record that this node does not keep."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"the record of {node} is not kept: {reason}")
        self.node = node
        self.reason = reason


class RecordUnanchored(RecordRefused):
    """The chain says otherwise: of the owner, the stake, the peer or the endpoint."""


class RecordOutOfTime(RecordRefused):
    """It has expired, or was issued in the future."""


class RecordConflict(RecordRefused):
    """Another record of the same sequence came first."""


class RecordBookFull(RecordRefused):
    """No room beside nodes that have as much at stake."""


class MeasurementInvalid(NodeError):
    """A measured time or size that nothing can have."""

    def __init__(self, what: str, value: object) -> None:
        super().__init__(f"{what} cannot be {value!r}; measure with one monotonic clock, before and after")
        self.what = what
        self.value = value


class WishInvalid(NodeError):
    """A route that nobody can ask for."""

    def __init__(self, what: str, value: object, allowed: str) -> None:
        super().__init__(f"{what} is {value!r}; choose {allowed}")
        self.what = what
        self.value = value


class NoDistinctRoute(NoRoute):
    """Every block is served, but no route was found without one owner on two stages."""

    def __init__(self, num_blocks: int) -> None:
        super().__init__([], num_blocks)
        self.args = (
            f"no route over {num_blocks} blocks with an owner of its own for each stage; allow one twice or wait",
        )
