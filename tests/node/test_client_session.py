"""What a client makes of the times of its tokens, and of who says what of whom."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.client import GARBAGE, Client
from node.client_errors import SessionFailed
from node.client_session import LAY_THERE, ClientSession, _Timing
from node.refusals import FailureCode
from tests.node.admitted import make_route
from tests.node.swarm import request
from verification.addresses import Address


class Listener:
    """Stands where the client has its routes' times."""

    def __init__(self) -> None:
        self.heard: list[float] = []

    def took(self, run: Any, seconds: float) -> None:
        self.heard.append(seconds)

    async def slowest(self, run: Any, seconds: float) -> None:
        """Nobody."""


def session(listener: Listener) -> ClientSession:
    opened = SimpleNamespace(route=SimpleNamespace(epoch=0), held=(0,))
    made = ClientSession(cast("Any", SimpleNamespace(opened=opened)), request(max_tokens=1000), cast("Any", listener))
    made._generated += range(10)
    return made


def learn(made: ClientSession, waited: float, interval: float) -> None:
    made._newest = _Timing(waited, interval)
    made._learn()


async def test_tokens_that_lay_there_say_nothing_of_the_stages() -> None:
    """A reader that pauses finds them ready; when it reads on, its route is as quick as ever and not slow all at once."""
    made = session(listener := Listener())
    for _ in range(50):
        learn(made, 0.0001, 5.0)
    for _ in range(50):
        learn(made, 0.3, 0.3)
    assert made._looking is None
    assert listener.heard == [0.3] * 50
    for _ in range(10):
        learn(made, 3.0, 3.0)
    assert made._looking is not None
    made._looking.cancel()


@pytest.mark.parametrize(("waited", "counts", "is_heard"), [(0.099, 0, 0), (0.101, 1, 0), (0.499, 1, 0), (0.501, 1, 1)])
async def test_how_much_of_its_time_a_token_was_waited_for(waited: float, counts: int, is_heard: int) -> None:
    """Too little, and nothing is learned; half of it, and it is the ring's time."""
    assert LAY_THERE == 0.1
    made = session(listener := Listener())
    learn(made, waited, 1.0)
    assert (len(made._pace._recent), len(made._patience._seconds), len(listener.heard)) == (counts, counts, is_heard)


def suspects(code: FailureCode, stage: int, stages: int = 3) -> list[int]:
    """Whom the client does without when it hears this, by their places."""
    route = make_route(stages=stages)
    nodes = [Address(each.node) for each in route.stages]
    planner = SimpleNamespace(failed=lambda *_, **__: None, shunned=set())
    client = cast("Any", SimpleNamespace(planner=planner))
    error = SessionFailed(code, "so it is said", stage, nodes[stage])
    return [nodes.index(each) for each in Client._suspects(client, error, route.stages)]


def test_who_says_that_a_stage_failed_is_the_next_suspect() -> None:
    """Garbage is found by the stage behind, a loss by the one before; what the last one tells, by the first."""
    for code in GARBAGE:
        assert [suspects(code, place) for place in (0, 1)] == [[0, 1], [1, 2]]
        assert suspects(code, 2) == ([2, 0] if code is FailureCode.PROTOCOL else [2])
        assert suspects(code, 0, stages=1) == [0]
    assert [suspects(FailureCode.STAGE_LOST, place) for place in range(3)] == [[0], [1, 0], [2, 1]]
    assert suspects(FailureCode.DRAINING, 2) == [2]
