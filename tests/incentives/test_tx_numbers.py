"""Transaction numbers: no single endpoint of several decides how many an account has used, or how many wait."""

from collections.abc import Callable
from pathlib import Path

import pytest

from incentives.client_errors import TooManyWaiting
from incentives.endpoint_health import HeadLimits
from incentives.endpoints import EndpointPool
from incentives.errors import ChainUnavailable, UnexpectedAnswer
from incentives.tx_chain import PoolTxChain
from incentives.tx_sender import MAX_GAP
from incentives.tx_states import TxState
from tests.incentives.fake_endpoint import CHAIN_ID, FakeRpc, Hands, raising
from tests.incentives.fake_tx_chain import ACCOUNT
from tests.incentives.test_tx_sender import POLICY, World, wish

LIMITS = HeadLimits(max_age_s=60, max_lag_blocks=5, recheck_s=0)
COUNT, HEIGHT = "eth_getTransactionCount", "eth_blockNumber"
HIGH = 10**9


class Told:
    """Endpoints that each tell a count, of any block that they have."""

    def __init__(self, *counts: int) -> None:
        hands = Hands()
        self.rpcs = [FakeRpc(f"{place}", hands) for place in range(len(counts))]
        self.pool = EndpointPool(self.rpcs, 30.0, CHAIN_ID, LIMITS, hands.clock)
        self.chain = PoolTxChain(self.pool, CHAIN_ID)
        for rpc, count in zip(self.rpcs, counts, strict=True):
            rpc.on = {COUNT: self.counting(rpc, count), HEIGHT: lambda rpc=rpc: hex(rpc.number)}

    @staticmethod
    def counting(rpc: FakeRpc, count: int) -> Callable[..., str]:
        def answer(_account: str, block: str) -> str:
            if block.startswith("0x") and int(block, 16) > rpc.number:
                raise UnexpectedAnswer(rpc.shown, "no such block")
            return hex(count)

        return answer


@pytest.mark.parametrize(
    ("counts", "believed"),
    [
        ((7,), 7),
        ((HIGH, 7), 7),
        ((7, HIGH), 7),
        ((HIGH, 7, 7), 7),
        ((7, 0, 7), 7),
        ((0, 7, HIGH), 7),
        ((9, 8, 7, 6), 7),
    ],
)
@pytest.mark.parametrize("kind", ["next", "latest", "earlier"])
def test_one_liar_decides_nothing(counts: tuple[int, ...], believed: int, kind: str) -> None:
    """Of two the lower; of more the second lowest, so that nobody holds up the others either."""
    chain = Told(*counts).chain
    asked = {
        "next": lambda: chain.next_number(ACCOUNT),
        "latest": lambda: chain.spent_numbers(ACCOUNT, 0),
        "earlier": lambda: chain.spent_numbers(ACCOUNT, 12),
    }
    assert asked[kind]() == believed


def test_a_height_that_is_made_up_silences_nobody() -> None:
    """Each is asked about a block that it has, and not about one that the first has."""
    told = Told(HIGH, 7)
    told.rpcs[0].on[HEIGHT] = lambda: hex(10**6)
    told.rpcs[0].on[COUNT] = lambda *_: hex(HIGH)
    assert told.chain.spent_numbers(ACCOUNT, 12) == 7


@pytest.mark.parametrize(("age_s", "believed"), [(60.0, 0), (61.0, 7)])
def test_who_is_down_or_stopped_has_no_say(age_s: float, believed: int) -> None:
    """Else one that stopped yesterday would hold up everything."""
    told = Told(7, 3, 0)
    told.rpcs[1].down = True
    told.rpcs[2].age_s = age_s
    assert told.chain.next_number(ACCOUNT) == believed


@pytest.mark.parametrize("place", [0, 1])
def test_who_makes_up_blocks_silences_nobody(place: int) -> None:
    """The others are then too far behind to be asked for anything else, and are heard all the same."""
    counts = [7, 7]
    counts[place] = HIGH
    told = Told(*counts)
    told.rpcs[place].number = 10**6
    for asked in (told.chain.next_number(ACCOUNT), told.chain.spent_numbers(ACCOUNT, 12)):
        assert asked == 7


def test_each_is_asked_once() -> None:
    """Also where another question moves the pool on in between."""
    told = Told(HIGH, 7, 7)
    answer = told.rpcs[1].on[COUNT]

    def moving(*params: str) -> str:
        told.pool._current = told.pool._endpoints[2]
        return str(answer(*params))

    told.rpcs[1].on[COUNT] = moving
    assert told.chain.next_number(ACCOUNT) == 7
    assert [rpc.count(COUNT) for rpc in told.rpcs] == [1, 1, 1]


@pytest.mark.parametrize("answer", ["seven", None, 7])
def test_a_count_that_is_none_is_another_endpoints_matter(answer: object) -> None:
    """Its error is told where nobody else is there."""
    told = Told(0, 7)
    told.rpcs[0].on[COUNT] = lambda *_: answer
    assert told.chain.next_number(ACCOUNT) == 7
    told.rpcs[1].on[COUNT] = raising(UnexpectedAnswer("http://1", "odd"))
    with pytest.raises(UnexpectedAnswer):
        told.chain.next_number(ACCOUNT)


def test_silence_is_told() -> None:
    """As for every other question."""
    told = Told(1, 2)
    for rpc in told.rpcs:
        rpc.down = True
    with pytest.raises(ChainUnavailable):
        told.chain.next_number(ACCOUNT)


@pytest.mark.parametrize(("strangers", "signed"), [(MAX_GAP, True), (MAX_GAP + 1, False)])
def test_a_number_far_ahead_is_not_used(tmp_path: Path, strangers: int, signed: bool) -> None:
    """It would wait for ever, and what fills the gap costs gas; the wish is kept until somebody tells a better one."""
    world = World(tmp_path)
    world.submitted("a", "b")
    for number in range(2, 2 + strangers):
        world.chain.foreign(number)
    world.sender.submit(wish("c"), "c")
    world.sender.tick()
    assert (world.state("c") is TxState.SIGNED) == signed
    if not signed:
        with pytest.raises(TooManyWaiting, match="not sent from here"):
            world.sender.send(wish("c"), "c")

    for _ in range(POLICY.confirmations + 4):
        world.chain.mine()
        world.sender.tick()
    world.sender.close()
    assert [world.times(text) for text in "abc"] == [1, 1, 1]


@pytest.mark.parametrize(("missing", "fillers"), [(MAX_GAP, MAX_GAP), (MAX_GAP + 1, 0)])
def test_a_gap_is_filled_up_to_a_limit(tmp_path: Path, missing: int, fillers: int) -> None:
    """A larger one was told by somebody, and to fill it would burn the account's gas."""
    world = World(tmp_path)
    world.submitted("a")
    with world.store._database.transaction() as db:
        db.execute("UPDATE jobs SET nonce = ?", (missing,))
    world.chain.pool.clear()
    before = len(world.store.live())

    world.sender._fill_gap()

    assert len(world.store.live()) - before == fillers
    world.sender.close()
