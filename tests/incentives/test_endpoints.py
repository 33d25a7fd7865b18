"""Several endpoints: the right chain with the right code, in step, and one for the other when it fails."""

import pytest

from incentives.client_errors import StaleChain
from incentives.endpoint_health import MAX_FUTURE_S, NO_LIMITS, HeadLimits
from incentives.endpoints import ROUNDS, BoundEndpoint, EndpointPool
from incentives.errors import (
    ChainUnavailable,
    CodeMismatch,
    Reverted,
    TransactionRefused,
    UnexpectedAnswer,
    WrongChain,
)
from tests.incentives.fake_endpoint import CHAIN_ID, FakeRpc, Hands, raising

LIMITS = HeadLimits(max_age_s=60, max_lag_blocks=3, recheck_s=5)
RAW = "eth_sendRawTransaction"
RECEIPT = "eth_getTransactionReceipt"


class Trio:
    """A pool of three endpoints."""

    def __init__(self, limits: HeadLimits = NO_LIMITS, expected: int | None = CHAIN_ID) -> None:
        self.hands = Hands()
        self.a, self.b, self.c = (FakeRpc(name, self.hands) for name in "abc")
        self.pool = EndpointPool((self.a, self.b, self.c), 30.0, expected, limits, self.hands.clock)

    def read(self) -> str:
        """Who answers a question."""
        return str(self.pool.ask("eth_gasPrice", [])).removeprefix("eth_gasPrice of http://")


def test_the_first_endpoint_answers_and_is_kept() -> None:
    """Nobody else is asked: two endpoints show two pasts."""
    trio = Trio()
    assert [trio.read() for _ in range(3)] == ["a", "a", "a"]
    assert trio.a.count("eth_chainId") == 1
    assert trio.b.asked == trio.c.asked == []


def test_a_silent_endpoint_is_replaced_and_the_replacement_kept() -> None:
    """Even when the first one is back."""
    trio = Trio()
    assert trio.read() == "a"
    trio.a.down = True
    assert trio.read() == "b"
    trio.a.down = False
    trio.hands.turn(1_000)
    assert trio.read() == "b"
    assert [each.failures for each in trio.pool.health()] == [1, 0, 0]


def test_the_tries_are_bounded_by_rounds() -> None:
    """Each endpoint is asked once per round, and the last failure is told."""
    trio = Trio()
    for rpc in (trio.a, trio.b, trio.c):
        rpc.down = True
    with pytest.raises(ChainUnavailable):
        trio.read()
    assert [len(rpc.asked) for rpc in (trio.a, trio.b, trio.c)] == [ROUNDS] * 3


@pytest.mark.parametrize(("took_s", "asked"), [(29.9, 2), (30.0, 1)])
def test_no_try_begins_after_the_deadline(took_s: float, asked: int) -> None:
    """At 30 s nobody is asked any more; a moment before, one more is."""
    trio = Trio()
    for rpc in (trio.a, trio.b, trio.c):
        rpc.down, rpc.took_s = True, took_s
    with pytest.raises(ChainUnavailable):
        trio.read()
    assert len(trio.a.asked + trio.b.asked + trio.c.asked) == asked


def test_an_endpoint_of_another_chain_is_never_asked_for_more_than_its_id() -> None:
    """It is passed over while others answer, and named when it is the only one."""
    trio = Trio()
    trio.a.chain_id = 1
    assert trio.read() == "b"
    assert isinstance(trio.pool.health()[0].refused, WrongChain)
    trio.b.down = trio.c.down = True
    with pytest.raises(ChainUnavailable):
        trio.read()
    assert set(trio.a.asked) == {"eth_chainId"}
    lonely = EndpointPool((trio.a,), 30.0, CHAIN_ID, NO_LIMITS, trio.hands.clock)
    with pytest.raises(WrongChain) as caught:
        lonely.ask("eth_gasPrice", [])
    assert (caught.value.expected, caught.value.actual) == (CHAIN_ID, 1)
    with pytest.raises(WrongChain):
        lonely.ask(RAW, ["0x"])


def test_without_an_expected_id_the_first_endpoint_sets_it() -> None:
    """Later ones must agree."""
    trio = Trio(expected=None)
    trio.a.chain_id = trio.b.chain_id = 5
    assert trio.pool.chain_id == 5
    trio.a.down = trio.b.down = True
    with pytest.raises(ChainUnavailable):
        trio.read()
    assert isinstance(trio.pool.health()[2].refused, WrongChain)


def test_an_endpoint_is_asked_for_its_chain_again_after_every_failure() -> None:
    """Another server may listen there now."""
    trio = Trio()
    trio.read()
    for rpc in (trio.a, trio.b, trio.c):
        rpc.down = True
    with pytest.raises(ChainUnavailable):
        trio.read()
    trio.a.down, trio.a.chain_id = False, 1
    with pytest.raises((WrongChain, ChainUnavailable)):
        trio.read()
    assert isinstance(trio.pool.health()[0].refused, WrongChain)


def test_the_code_of_the_contracts_is_checked_on_each_endpoint_before_its_first_use() -> None:
    """One that shows other code is never used."""
    trio, checked = Trio(), list[str]()

    def check(endpoint: BoundEndpoint) -> None:
        checked.append(endpoint.url)
        if endpoint.url == "http://a":
            raise CodeMismatch("Stakes", "0x", b"1", b"2")

    trio.pool.require(check)
    assert trio.read() == "b"
    trio.b.down = True
    assert trio.read() == "c"
    assert checked == ["http://a", "http://b", "http://a", "http://c"]
    assert trio.a.count("eth_gasPrice") == 0


def test_an_endpoint_whose_head_is_old_is_passed_over_at_the_limit_and_one_past_it() -> None:
    """60 s pass, 61 do not; all stale is an error of its own."""
    trio = Trio(HeadLimits(max_age_s=60, max_lag_blocks=None))
    trio.a.age_s = 60
    assert trio.read() == "a"
    trio.a.age_s = 61
    trio.hands.turn(5)
    assert trio.read() == "b"
    assert isinstance(trio.pool.health()[0].refused, StaleChain)
    trio.b.age_s = trio.c.age_s = 1_000
    trio.hands.turn(5)
    with pytest.raises(StaleChain, match="switch the limit off"):
        trio.read()


def test_an_endpoint_that_lags_is_passed_over_at_the_limit_and_one_past_it() -> None:
    """Three blocks pass, four do not."""
    trio = Trio(HeadLimits(max_age_s=None, max_lag_blocks=3))
    trio.a.number = 97
    assert trio.read() == "a"
    trio.a.number = 96
    trio.hands.turn(5)
    assert trio.read() == "b"
    trio.a.number = 100
    trio.b.number = 0
    trio.hands.turn(5)
    assert trio.read() == "a"


def test_the_limits_can_be_switched_off() -> None:
    """A chain that mines on demand sleeps for days; then nobody is even asked for a head."""
    trio = Trio(NO_LIMITS)
    trio.a.age_s = 1e6
    assert trio.read() == "a"
    assert trio.a.count("eth_getBlockByNumber") == 0


def test_a_head_of_the_future_is_stale_and_makes_nobody_else_look_late() -> None:
    """Else one liar would be the only one in step."""
    trio = Trio(LIMITS)
    trio.a.number, trio.a.age_s = 1_000_000, -(MAX_FUTURE_S + 1)
    assert trio.read() == "b"


def test_one_endpoint_of_three_that_invents_a_head_makes_nobody_late() -> None:
    """Two would have to agree; with the second one, the third is late."""
    trio = Trio(LIMITS)
    trio.c.number = 1_000_000
    assert trio.read() == "a"
    trio.b.number = 1_000_000
    trio.hands.turn(5)
    assert trio.read() == "b"


def test_heads_are_believed_for_a_while() -> None:
    """Within five seconds nobody is asked again."""
    trio = Trio(LIMITS)
    for _ in range(3):
        trio.read()
    assert trio.a.count("eth_getBlockByNumber") == 1
    trio.hands.turn(5)
    trio.read()
    assert trio.a.count("eth_getBlockByNumber") == 2


@pytest.mark.parametrize("error", [Reverted("Odd"), TransactionRefused(-32000, "insufficient funds")])
def test_a_refusal_is_an_answer(error: Exception) -> None:
    """Nobody else is asked, and no failure is counted."""
    trio = Trio()
    trio.a.on["eth_gasPrice"] = raising(error)
    with pytest.raises(type(error)):
        trio.read()
    assert trio.b.asked == []
    assert trio.pool.health()[0].failures == 0


@pytest.mark.parametrize(
    "error",
    [
        TransactionRefused(-32601, "no such method"),
        TransactionRefused(-32005, "too many requests"),
        TransactionRefused(-32000, "header not found"),
        UnexpectedAnswer("http://a", "a web page"),
    ],
)
def test_what_another_endpoint_may_do_better_is_asked_there_once(error: Exception) -> None:
    """The first one is not asked the same again."""
    trio = Trio()
    trio.a.on["eth_gasPrice"] = raising(error)
    assert trio.read() == "b"
    assert trio.a.count("eth_gasPrice") == 1


def test_a_transaction_is_offered_to_each_endpoint_at_most_once() -> None:
    """Until one takes it."""
    trio = Trio()
    trio.a.down = True
    assert trio.pool.ask(RAW, ["0x"]) == f"{RAW} of http://b"
    trio.b.down = trio.c.down = True
    with pytest.raises(ChainUnavailable):
        trio.pool.ask(RAW, ["0x"])
    assert trio.b.count(RAW) == 2
    assert trio.c.count(RAW) == 0, "it was down before it was introduced"


def test_after_a_silence_no_refusal_says_that_the_transaction_is_nowhere() -> None:
    """The silent endpoint may have it; the others refuse because they know it already."""
    trio = Trio()
    trio.read()
    trio.a.on[RAW] = raising(ChainUnavailable("http://a", "cut off"))
    trio.b.on[RAW] = raising(TransactionRefused(-32000, "nonce too low"))
    with pytest.raises(ChainUnavailable):
        trio.pool.ask(RAW, ["0x"])
    trio.a.on[RAW] = raising(TransactionRefused(-32000, "nonce too low"))
    trio.hands.turn(1_000)
    with pytest.raises(TransactionRefused):
        trio.pool.ask(RAW, ["0x"])


def test_a_transaction_is_looked_for_on_all_endpoints() -> None:
    """One that the first does not know may be known to the last; a silent one in between is no obstacle."""
    trio = Trio()
    trio.a.on[RECEIPT] = lambda _: None
    trio.b.down = True
    trio.c.on[RECEIPT] = lambda _: {"status": "0x1"}
    assert trio.pool.ask(RECEIPT, ["0x"]) == {"status": "0x1"}
    trio.c.on[RECEIPT] = lambda _: None
    assert trio.pool.ask(RECEIPT, ["0x"]) is None
    assert len(trio.b.asked) == 1, "it rests, and every look would cost a timeout"


def test_an_endpoint_that_lags_is_still_asked_for_a_transaction() -> None:
    """It may be the one that the transaction was given to; it must be of the right chain, though."""
    trio = Trio(LIMITS)
    trio.a.on[RECEIPT] = trio.c.on[RECEIPT] = lambda _: None
    trio.b.number = 0
    trio.b.on[RECEIPT] = lambda _: {"status": "0x1"}
    assert trio.pool.ask(RECEIPT, ["0x"]) == {"status": "0x1"}
    trio.b.chain_id = 1
    trio.pool.require(lambda _: None)
    assert trio.pool.ask(RECEIPT, ["0x"]) is None


def test_a_bound_endpoint_answers_for_itself_alone() -> None:
    """What belongs together is read from one; its failure counts, and the next binding goes elsewhere."""
    trio = Trio()
    bound = trio.pool.bound()
    trio.a.down = True
    with pytest.raises(ChainUnavailable):
        bound.ask("eth_gasPrice", [])
    assert trio.pool.bound().url == "http://b"


def test_an_endpoint_rests_longer_after_each_failure_up_to_a_minute() -> None:
    """It is asked last meanwhile, and first again after an answer."""
    trio = Trio()
    trio.a.down = True
    trio.read()
    assert trio.pool._endpoints[0].resting
    trio.hands.turn(1)
    assert not trio.pool._endpoints[0].resting
    for _ in range(20):
        with pytest.raises(ChainUnavailable):
            trio.pool._endpoints[0].ask("eth_chainId", [])
    trio.hands.turn(59.5)
    assert trio.pool._endpoints[0].resting
    trio.hands.turn(0.5)
    assert not trio.pool._endpoints[0].resting


def test_a_pool_of_nothing_is_refused() -> None:
    """With a named error."""
    with pytest.raises(ChainUnavailable):
        EndpointPool((), 1.0)


def test_latency_is_a_running_mean() -> None:
    """For choosing among equals."""
    trio = Trio()
    trio.a.took_s = 1.0
    trio.read()
    assert trio.pool.health()[0].latency_s == pytest.approx(1.0)
    trio.a.took_s = 2.0
    trio.read()
    assert trio.pool.health()[0].latency_s == pytest.approx(1.2)


def test_a_transaction_is_spread_to_all_whatever_the_first_ones_say() -> None:
    """Taken by one is taken; where nobody takes it, what was said is told as before."""
    trio = Trio()
    trio.b.on[RAW] = raising(TransactionRefused(-32000, "already known"))
    assert trio.pool.spread(RAW, ["0x"]) == f"{RAW} of http://a"
    assert [each.count(RAW) for each in (trio.a, trio.b, trio.c)] == [1, 1, 1]
    for each in (trio.a, trio.c):
        each.on[RAW] = raising(TransactionRefused(-32000, "already known"))
    with pytest.raises(TransactionRefused):
        trio.pool.spread(RAW, ["0x"])
    trio.b.on[RAW] = raising(ChainUnavailable("http://b", "cut off"))
    with pytest.raises(ChainUnavailable):
        trio.pool.spread(RAW, ["0x"])


def test_a_survey_asks_everybody_and_says_what_is_wrong_with_each() -> None:
    """Also those that rest after a failure, and again when they are well."""
    trio = Trio()
    trio.read()
    trio.a.down, trio.b.chain_id, trio.c.number = True, 5, 7
    trio.pool.limits = HeadLimits()
    down, foreign, well = trio.pool.survey()
    assert isinstance(down.refused, ChainUnavailable)
    assert isinstance(foreign.refused, WrongChain)
    assert (well.refused, well.head and well.head.number) == (None, 7)
    trio.a.down, trio.b.chain_id, trio.c.age_s = False, CHAIN_ID, 301.0
    *both, stale = trio.pool.survey()
    assert [each.refused for each in both] == [None, None]
    assert isinstance(stale.refused, StaleChain)
    trio.a.on["eth_getBlockByNumber"] = lambda *_: {"number": "many"}
    assert isinstance(trio.pool.survey()[0].refused, UnexpectedAnswer)
