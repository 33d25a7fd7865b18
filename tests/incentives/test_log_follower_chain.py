"""The follower over real chains that take blocks back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from incentives.follower_store import FollowerStore
from incentives.log_follower import LogFollower
from tests.conftest import ask
from tests.incentives.suite import DEPLOYER, NODE, STRANGER, Suite
from tests.incentives.test_log_follower import record


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FollowerStore]:
    """A fresh database."""
    store = FollowerStore(tmp_path / "follower.sqlite", "transfers", depth=16)
    yield store
    store.close()


class Reader:
    """A follower of the token's transfers from the present head on."""

    def __init__(self, suite: Suite, store: FollowerStore) -> None:
        self.suite, self.store, self.start = suite, store, suite.chain.head().number + 1
        self.follower = LogFollower(suite.chain.pool, store, [suite.token.contract], self.start, record)

    def check(self) -> None:
        """After one call the state is what reading everything anew gives."""
        assert self.follower.advance().at_head
        naive = self.suite.chain.events(self.suite.token.contract, "Transfer", self.start)
        with self.store.reading() as view:
            assert view.cursor == self.suite.chain.head()
            values = [int.from_bytes(entry.value) for entry in view.scan(b"#")]
        assert values == [event.args["value"] for event in naive]

    def pay(self, *values: int) -> None:
        """One block with one transfer each."""
        for value in values:
            self.suite.token.transfer(DEPLOYER, STRANGER.address, value)


def test_blocks_taken_back_by_a_snapshot_are_undone(suite: Suite, store: FollowerStore) -> None:
    """On both kinds of local chain; shorter, equal and longer replacements."""
    reader = Reader(suite, store)
    reader.pay(1, 2)
    reader.check()
    for replacement in ((), (6, 7, 8), (9,)):
        taken = ask(suite.url, "evm_snapshot")
        reader.pay(3, 4, 5)
        reader.check()
        assert ask(suite.url, "evm_revert", taken) is True
        suite.chain.transfer_native(DEPLOYER, NODE.address, 1)
        reader.pay(*replacement)
        reader.check()


def test_a_reorg_of_anvil_is_undone(suite: Suite, store: FollowerStore) -> None:
    """Replaced by empty blocks, and by blocks in which one transfer comes later than before."""
    if "anvil" not in ask(suite.url, "web3_clientVersion"):
        pytest.skip("only anvil re-organises by itself")
    reader = Reader(suite, store)
    reader.pay(1, 2, 3, 4)
    reader.check()
    ask(suite.url, "anvil_reorg", 3, [])
    reader.check()
    with store.reading() as view:
        assert len(view.scan(b"#")) == 1
    reader.pay(5, 6)
    reader.check()
