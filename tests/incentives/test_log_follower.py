"""The follower's state is always what a naive reading of the present chain would give."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from incentives.chain_types import Block, Event
from incentives.client_errors import ClientStoreError, ReorgTooDeep, StaleChain
from incentives.endpoints import EndpointPool
from incentives.errors import ChainError, ChainUnavailable, TransactionRefused, UnexpectedAnswer
from incentives.follower_store import FollowerStore, Journal
from incentives.log_follower import LogFollower, Progress
from tests.incentives.fake_chain import TOKEN, FakeBlock, FakeChain
from tests.incentives.fake_endpoint import Hands, raising

DEPTH = 8


def record(block: Block, events: Sequence[Event], state: Journal) -> None:
    """Every transfer under a running number, and their sum."""
    for event in events:
        number = int.from_bytes(state.get(b"count") or b"")
        total = int.from_bytes(state.get(b"total") or b"")
        state.put(b"#" + number.to_bytes(4), event.args["value"].to_bytes(4))
        state.put(b"count", (number + 1).to_bytes(4))
        state.put(b"total", (total + event.args["value"]).to_bytes(8))
    if len(events) == 2:
        state.put(b"pair", block.hash)
    if len(events) == 3:
        state.delete(b"pair")


class Follower:
    """A follower of a fake chain over a file, which can be killed and started again."""

    def __init__(self, chain: FakeChain, path: Path, start: int = 1, depth: int = DEPTH) -> None:
        self.chain, self.path, self.start, self.depth = chain, path, start, depth
        self.pool = EndpointPool((chain,), 30.0, 31337, clock=Hands().clock)
        self.open()

    def open(self) -> None:
        """As a new process does."""
        self.store = FollowerStore(self.path, "transfers on chain 31337", self.depth)
        self.follower = LogFollower(self.pool, self.store, [TOKEN], self.start, record)

    def restart(self) -> None:
        """The process dies and another one takes over."""
        self.store.close()
        self.open()

    def advance(self, max_blocks: int = 500) -> Progress:
        """Once."""
        return self.follower.advance(max_blocks)

    def settle(self) -> None:
        """Until everything is read; bounded."""
        for _ in range(100):
            if self.advance().at_head:
                return
        raise AssertionError("the follower does not come to the head")

    def check(self) -> None:
        """Cursor and state are those of the chain that is there now."""
        with self.store.reading() as view:
            wanted = self.chain.transfers()
            assert view.cursor is not None
            assert view.cursor.hash == self.chain.blocks[-1].hash
            assert [int.from_bytes(entry.value) for entry in view.scan(b"#")] == wanted
            assert int.from_bytes(view.get(b"total") or b"") == sum(wanted)
            assert view.get(b"pair") == self.pair()

    def pair(self) -> bytes | None:
        """The newest block with two transfers after which none had three."""
        found = None
        for block in self.chain.blocks:
            found = block.hash if len(block.transfers) == 2 else None if len(block.transfers) == 3 else found
        return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "follower.sqlite"


@pytest.mark.parametrize("seed", range(25))
def test_whatever_the_chain_does_the_state_is_that_of_a_naive_reading(seed: int, path: Path) -> None:
    """Random growth, re-orgs also in the middle of reading, silences, small portions and restarts."""
    chain = FakeChain(seed)
    chain.most_undone = 3
    chain.grow(10 + seed * 3)
    one = Follower(chain, path)
    for _ in range(12):
        chain.restless, chain.silent = 0.05, 0.05
        for _ in range(4):
            with suppress(ChainUnavailable, UnexpectedAnswer, StaleChain, ReorgTooDeep):
                one.advance(chain.random.choice([1, 3, 500]))
            if chain.random.random() < 0.3:
                one.restart()
        chain.restless = chain.silent = 0.0
        try:
            one.settle()
        except ReorgTooDeep:  # several small ones on top of each other
            one.settle()
        one.check()
    one.store.close()


def test_a_reorg_at_the_depth_is_undone_and_one_past_it_begins_anew(path: Path) -> None:
    """Eight blocks are undone; the ninth is a named error, after which everything is read again."""
    chain = FakeChain(1)
    chain.grow(30)
    one = Follower(chain, path)
    one.settle()
    chain.reorganise(DEPTH, DEPTH + 1)
    assert one.advance() == Progress(one.store.newest(), DEPTH, True)
    one.check()
    chain.grow(DEPTH)
    one.settle()
    chain.reorganise(DEPTH + 1, DEPTH + 2)
    with pytest.raises(ReorgTooDeep, match="read from the start") as caught:
        one.advance()
    assert (caught.value.cursor, caught.value.depth) == (39, DEPTH)
    with one.store.reading() as view:
        assert view.cursor is None
        assert view.scan() == []
    one.settle()
    one.check()
    one.store.close()


def test_a_chain_far_ahead_is_read_in_ranges_and_its_last_blocks_one_by_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same state comes out; nothing is read twice across the borders of ranges."""
    monkeypatch.setattr("incentives.log_follower.RANGE_BLOCKS", 7)
    chain = FakeChain(2)
    chain.grow(100)
    one = Follower(chain, path)
    one.settle()
    one.check()
    assert chain.asked.count("eth_getLogs") < 40
    chain.grow(100)
    one.settle()
    one.check()
    one.store.close()


def test_a_chain_that_shrinks_is_followed_back(path: Path) -> None:
    """As after a snapshot was restored; and forward again."""
    chain = FakeChain(3)
    chain.grow(10)
    one = Follower(chain, path)
    one.settle()
    chain.reorganise(4, 0)
    assert one.advance().undone == 4
    one.check()
    chain.grow(2)
    one.settle()
    one.check()
    one.store.close()


def test_a_young_chain_may_be_rewritten_from_its_first_block_on(path: Path) -> None:
    """All of it is still undoable."""
    chain = FakeChain(4)
    chain.grow(DEPTH)
    one = Follower(chain, path)
    one.settle()
    chain.reorganise(DEPTH, 3)
    assert one.advance().undone == DEPTH
    one.check()
    one.store.close()


def test_an_endpoint_that_lags_far_behind_wipes_nothing(path: Path) -> None:
    """It is the same chain, only less of it: another endpoint has to be asked."""
    chain = FakeChain(5)
    chain.grow(40)
    one = Follower(chain, path)
    one.settle()
    newer = chain.blocks
    chain.blocks = chain.blocks[:20]
    with pytest.raises(StaleChain):
        one.advance()
    assert one.pool.health()[0].failures == 1
    chain.blocks = newer
    one.check()
    one.store.close()


def test_a_chain_that_began_anew_is_read_from_the_start(path: Path) -> None:
    """A local chain was restarted: its first block is another one, though it is shorter."""
    chain = FakeChain(6)
    chain.grow(40)
    one = Follower(chain, path)
    one.settle()
    chain.reorganise(40, 5)
    with pytest.raises(ReorgTooDeep):
        one.advance()
    one.settle()
    one.check()
    one.store.close()


def test_nothing_is_read_before_the_start_exists(path: Path) -> None:
    """And one block later it is."""
    chain = FakeChain(7)
    chain.grow(4)
    one = Follower(chain, path, start=5)
    assert one.advance() == Progress(None, 0, True)
    chain.grow(1)
    assert one.advance().at_head
    with one.store.reading() as view:
        assert [int.from_bytes(entry.value) for entry in view.scan(b"#")] == list(chain.blocks[5].transfers)
    one.store.close()


class Killed(Exception):
    """The process dies here."""


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
def test_a_crash_at_any_transaction_repeats_nothing_and_loses_nothing(after: bool, tmp_path: Path) -> None:
    """Killed once at each transaction in turn: reading, undoing, catching up, beginning anew."""
    for at in range(1, 200):
        chain = FakeChain(8)
        chain.grow(10)
        one = Follower(chain, tmp_path / f"{at}.sqlite", depth=3)
        crashes = Crashes(one, at, after)
        for drop, add in ((0, 0), (2, 3), (8, 9), (0, 12)):
            chain.reorganise(drop, add)
            crashes.until_settled()
            one.check()
        one.store.close()
        if not crashes.happened:
            assert at > 15
            return
    raise AssertionError("more transactions than expected")


class Crashes:
    """Kills a follower once, at its n-th transaction."""

    def __init__(self, one: Follower, at: int, after: bool) -> None:
        self.one, self.left, self.after, self.happened = one, at, after, False
        self.arm()

    def arm(self) -> None:
        """Count the transactions of the present process."""
        database = self.one.store._database
        real = database._db

        class Counted:
            def __getattr__(_, name: str) -> object:  # noqa: N805
                return getattr(real, name)

            def execute(_, query: str, *values: object) -> object:  # noqa: N805
                if query != "COMMIT":
                    return real.execute(query, *values)
                self.left -= 1
                if self.left == 0 and not self.after:
                    raise Killed
                result = real.execute(query)
                if self.left == 0:
                    raise Killed
                return result

        database._db = Counted()  # type: ignore[assignment]

    def until_settled(self) -> None:
        """As a supervisor does: start again after a crash."""
        for _ in range(100):
            try:
                self.one.settle()
                return
            except Killed:
                self.happened = True
                self.one.restart()
            except ReorgTooDeep:
                continue
        raise AssertionError("it never settles")


def test_a_deriver_that_fails_changes_nothing(path: Path) -> None:
    """Its half-written block is not kept."""
    chain = FakeChain(9)
    chain.grow(6)
    one = Follower(chain, path)

    def broken(block: Block, events: Sequence[Event], state: Journal) -> None:
        record(block, events, state)
        raise Killed

    failing = LogFollower(one.pool, one.store, [TOKEN], 1, broken)
    with pytest.raises(Killed):
        failing.advance()
    one.settle()
    one.check()
    one.store.close()


@pytest.mark.parametrize("lie", ["its child has another parent", "its hash is unknown"])
def test_an_endpoint_that_contradicts_itself_keeps_nobody_for_ever(lie: str, path: Path) -> None:
    """It says that a block is in its chain, and that it is not: the next question goes to another endpoint."""
    chain = FakeChain(11)
    chain.grow(4)
    one = Follower(chain, path)
    one.settle()
    chain.blocks.append(FakeBlock(5, 0, chain.blocks[-1].hash, ()))
    if lie == "its child has another parent":
        chain.blocks[5] = FakeBlock(5, 0, bytes(32), ())
    else:
        chain.eth_getBlockByHash = lambda wanted, full: None  # type: ignore[method-assign]
    with pytest.raises(UnexpectedAnswer, match="it has block"):
        one.settle()
    assert one.pool.health()[0].failures == 1
    one.store.close()


HOSTILE = [
    {"blockHash": "0x" + "11" * 32},
    {"blockHash": None},
    {"removed": True},
    {"blockNumber": "0x7"},
    {"address": "0x" + "08" * 20},
    {"address": "nobody"},
    {"topics": None},
    {"topics": ["0x12"]},
    {"data": "zz"},
    {"logIndex": 3},
    {"transactionHash": "0x"},
]


@pytest.mark.parametrize("change", HOSTILE, ids=str)
def test_logs_that_do_not_belong_to_the_block_are_refused(change: dict[str, object], path: Path) -> None:
    """Nothing of them is kept, and the endpoint's failure is counted."""
    chain = FakeChain(10)
    chain.blocks.append(chain.blocks[0].__class__(1, 1, chain.blocks[0].hash, (5,)))
    one = Follower(chain, path)
    honest = chain.eth_getLogs
    chain.eth_getLogs = lambda query: [{**log, **change} for log in honest(query)]  # type: ignore[method-assign]
    with pytest.raises(UnexpectedAnswer):
        one.advance()
    assert one.store.newest() is None
    assert one.pool.health()[0].failures == 1
    one.store.close()


def test_a_log_that_cannot_be_decoded_hides_no_other(path: Path) -> None:
    """Whoever made the contract emit it must not hide the others' logs."""
    chain = FakeChain(11)
    chain.blocks.append(chain.blocks[0].__class__(1, 1, chain.blocks[0].hash, (5, 6)))
    honest = chain.eth_getLogs
    chain.eth_getLogs = lambda query: [{**honest(query)[0], "data": "0x"}, honest(query)[1]]  # type: ignore[method-assign]
    one = Follower(chain, path)
    one.advance()
    with one.store.reading() as view:
        assert [int.from_bytes(entry.value) for entry in view.scan(b"#")] == [6]
    one.store.close()


@pytest.mark.parametrize("answer", [None, 5, {}, {"number": "0x1"}])
def test_a_head_that_is_none_is_refused(answer: object, path: Path) -> None:
    """Whatever its shape."""
    chain = FakeChain(12)
    one = Follower(chain, path)
    chain.eth_getBlockByNumber = lambda *_: answer  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(UnexpectedAnswer):
        one.advance()
    one.store.close()


def test_the_file_serves_one_purpose(path: Path) -> None:
    """Another chain's follower is refused."""
    FollowerStore(path, "transfers on chain 31337", DEPTH).close()
    with pytest.raises(ClientStoreError, match="not for"):
        FollowerStore(path, "transfers on chain 1", DEPTH)


def test_silence_is_passed_on(path: Path) -> None:
    """The caller decides when to try again."""
    chain = FakeChain(13)
    one = Follower(chain, path)
    one.pool.bound()
    chain.ask = raising(ChainUnavailable("http://fake", "down"))  # type: ignore[method-assign]
    with pytest.raises(ChainError):
        one.advance()
    one.store.close()


def test_a_block_that_is_gone_while_its_logs_are_read_does_not_count_as_one_without_logs(path: Path) -> None:
    """Nodes answer with no logs for a block that they do not know; the block may come back."""
    chain = FakeChain(14)
    chain.blocks.append(chain.blocks[0].__class__(1, 1, chain.blocks[0].hash, (5,)))
    one, honest, full = Follower(chain, path), chain.eth_getLogs, list(chain.blocks)

    def gone(query: dict[str, object]) -> list[dict[str, object]]:
        chain.blocks = full[:1]
        return honest(query)

    chain.eth_getLogs = gone  # type: ignore[method-assign]
    assert not one.advance().at_head
    chain.blocks, chain.eth_getLogs = full, honest  # type: ignore[method-assign]
    one.settle()
    one.check()
    one.store.close()


def test_a_range_that_changes_while_it_is_read_is_refused(path: Path) -> None:
    """Its logs may be of two chains; the next call reads it again."""
    chain = FakeChain(15)
    chain.grow(60)
    one, honest = Follower(chain, path), chain.eth_getLogs

    def moving(query: dict[str, object]) -> list[dict[str, object]]:
        logs = honest(query)
        chain.reorganise(2 * DEPTH, 2 * DEPTH)
        return logs

    chain.eth_getLogs = moving  # type: ignore[method-assign]
    with pytest.raises(UnexpectedAnswer, match="one chain"):
        one.advance()
    chain.eth_getLogs = honest  # type: ignore[method-assign]
    one.settle()
    one.check()
    one.store.close()


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_a_node_that_limits_ranges_is_asked_for_smaller_ones(limit: int, path: Path) -> None:
    """Down to single blocks; one that refuses even these is told of."""
    chain = FakeChain(16)
    chain.grow(60)
    one, honest = Follower(chain, path), chain.eth_getLogs

    def limited(query: dict[str, str]) -> list[dict[str, object]]:
        if "fromBlock" in query and int(query["toBlock"], 16) - int(query["fromBlock"], 16) >= limit:
            raise TransactionRefused(-32000, "query exceeds max block range")
        return honest(query)

    chain.eth_getLogs = limited  # type: ignore[method-assign]
    if limit == 0:
        with pytest.raises(TransactionRefused):
            one.advance()
    else:
        one.settle()
        one.check()
    one.store.close()
