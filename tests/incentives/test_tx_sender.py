"""A transaction is sent once, is found again after every accident, and its record says how it ended."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from incentives.client_errors import (
    ClientLocked,
    ClientStoreError,
    FeeTooHigh,
    KeyReused,
    TransactionFailed,
)
from incentives.clock import Clock
from incentives.errors import ChainUnavailable, Reverted, TransactionLost, TransactionRefused
from incentives.tx_fees import FeePolicy, Market, SenderPolicy
from incentives.tx_sender import TxSender
from incentives.tx_states import Attempt, Fees, Job, TxState, Wanted
from incentives.tx_store import TxStore
from tests.incentives.fake_endpoint import NOW, Hands
from tests.incentives.fake_tx_chain import ACCOUNT, SOMEBODY, FakeTxChain, PlainSigner, Waiting

N = 3
POLICY = SenderPolicy(
    confirmations=N, wait_s=30.0, memory_s=1_000.0, fees=FeePolicy(max_fee_cap=1_000, max_tip_cap=500)
)


def wish(text: str) -> Wanted:
    """A transaction that is known by its data."""
    return Wanted(SOMEBODY, text.encode())


class World:
    """A chain, a record on the disk, and a sender that can be killed and started again."""

    def __init__(self, folder: Path, seed: int = 0, policy: SenderPolicy = POLICY) -> None:
        self.folder, self.policy, self.chain, self.hands = folder, policy, FakeTxChain(seed), Hands()
        self.on_sleep: Callable[[], None] = lambda: None
        self.clock = Clock(now=self.now, monotonic=self.now, sleep=self.sleep)
        self.start()

    def now(self) -> float:
        return self.hands.at

    def sleep(self, seconds: float) -> None:
        self.hands.turn(seconds)
        self.on_sleep()

    def start(self) -> None:
        """As a new process does."""
        self.store = TxStore(self.folder, 31337, ACCOUNT)
        self.sender = TxSender(PlainSigner(), self.chain, self.store, self.policy, self.clock)

    def restart(self) -> None:
        """The process dies and another one takes over."""
        self.sender.close()
        self.start()

    def state(self, key: str) -> TxState:
        job = self.job(key)
        return job.state

    def job(self, key: str) -> Job:
        job = self.store.by_key(key)
        assert job is not None
        return job

    def times(self, text: str) -> int:
        """How often a wish was carried out."""
        return sum(one.fields["data"] == "0x" + text.encode().hex() for one in self.chain.mined())

    def submitted(self, *texts: str) -> None:
        """Wishes under keys of the same names, offered to the chain."""
        for text in texts:
            self.sender.submit(wish(text), text)
            while self.state(text) in (TxState.PLANNED, TxState.SIGNED):
                self.sender.tick()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.sender.close()


def mining(world: World) -> None:
    """A block comes with every pause."""
    world.on_sleep = world.chain.mine


def test_a_transaction_goes_through_its_states_to_finality(world: World) -> None:
    """Each is recorded; final comes after exactly so many blocks."""
    seen = [world.sender.submit(wish("a"), "a").state]
    for _ in range(2):
        world.sender.tick()
        seen.append(world.state("a"))
    world.chain.mine()
    world.sender.tick()
    seen.append(world.state("a"))
    world.chain.mine(N - 1)
    world.sender.tick()
    seen.append(world.state("a"))
    world.chain.mine(1)
    world.sender.tick()
    seen.append(world.state("a"))
    assert seen == ["planned", "signed", "broadcast", "mined", "mined", "final"]
    assert [attempt.state for attempt in world.job("a").attempts] == ["final"]


def test_the_same_key_is_the_same_transaction(world: World) -> None:
    """Asked again at once, after it was mined, and after a restart."""
    mining(world)
    first = world.sender.send(wish("a"), "a")
    assert world.sender.send(wish("a"), "a") == first
    world.restart()
    assert world.sender.send(wish("a"), "a") == first
    assert world.times("a") == 1
    with pytest.raises(KeyReused):
        world.sender.send(wish("b"), "a")


def test_without_a_key_every_call_is_a_transaction_of_its_own(world: World) -> None:
    """As it was before there were keys."""
    mining(world)
    world.sender.send(wish("a"))
    world.sender.send(wish("a"))
    assert world.times("a") == 2


def test_what_is_signed_is_on_the_disk_before_it_is_offered(world: World) -> None:
    """And what is replaced, too."""

    def look() -> None:
        assert world.store.live()[0].current[-1].sent_at is None

    world.chain.before_offer = look
    world.submitted("a")
    world.hands.turn(60)
    world.sender.tick()
    assert len(world.chain.offered) == 2


def test_a_revert_in_the_simulation_costs_no_number_and_may_be_asked_again(world: World) -> None:
    """Nothing was signed."""
    mining(world)
    with pytest.raises(Reverted):
        world.sender.send(wish("revert"), "r")
    assert world.state("r") is TxState.FAILED
    assert world.job("r").nonce is None
    with pytest.raises(Reverted):
        world.sender.send(wish("revert"), "r")
    world.sender.send(wish("b"), "b")
    assert world.job("b").nonce == 0


def test_a_revert_in_a_block_is_told_and_fails_for_good(world: World) -> None:
    """The key is spent: it is not sent a second time."""
    mining(world)
    world.chain.reverts = {b"a"}
    assert not world.sender.send(wish("a"), "a").success
    world.chain.mine(N)
    world.sender.tick()
    assert world.state("a") is TxState.FAILED
    assert not world.sender.send(wish("a"), "a").success
    assert world.times("a") == 1


def test_a_refused_transaction_gives_its_number_to_the_next(world: World) -> None:
    """And takes it again, or a later one once its own is spent for good; never both."""
    mining(world)
    world.chain.refusal = TransactionRefused(-32000, "insufficient funds")
    with pytest.raises(TransactionRefused):
        world.sender.send(wish("a"), "a")
    assert (world.state("a"), world.job("a").nonce) == (TxState.FAILED, 0)
    world.chain.refusal = None
    world.submitted("b")
    assert world.job("b").nonce == 0
    for _ in range(2):
        with pytest.raises(TransactionLost, match="not for good yet"):
            world.sender.send(wish("a"), "a")
        world.chain.mine()
        world.sender.tick()
    world.chain.mine(N)
    world.sender.send(wish("a"), "a")
    assert world.job("a").nonce == 1
    assert (world.times("a"), world.times("b")) == (1, 1)


def test_a_refused_transaction_takes_its_own_number_again(world: World) -> None:
    """Nobody else wanted it."""
    mining(world)
    world.chain.refusal = TransactionRefused(-32000, "insufficient funds")
    with pytest.raises(TransactionRefused):
        world.sender.send(wish("a"), "a")
    world.chain.refusal = None
    world.sender.send(wish("a"), "a")
    assert world.job("a").nonce == 0


def test_no_block_in_time_is_told_and_the_key_finds_it_later(world: World) -> None:
    """It was sent once."""
    with pytest.raises(TransactionLost, match="look it up") as caught:
        world.sender.send(wish("a"), "a")
    assert caught.value.tx_hash == world.job("a").attempts[0].tx_hash
    world.chain.mine()
    assert world.sender.send(wish("a"), "a").tx_hash == caught.value.tx_hash
    assert world.times("a") == 1


def test_a_chain_that_is_down_is_told_before_signing_and_waited_for_after(world: World) -> None:
    """A keyed wish stays planned; an offered one is looked for until the deadline."""
    world.chain.down = True
    with pytest.raises(ChainUnavailable):
        world.sender.send(wish("a"), "a")
    assert world.state("a") is TxState.PLANNED
    with pytest.raises(ChainUnavailable):
        world.sender.send(wish("b"))
    world.chain.down = False

    def fall() -> None:
        world.chain.down = True

    world.chain.after_offer = fall
    with pytest.raises(TransactionLost, match="down"):
        world.sender.send(wish("a"), "a")
    world.chain.down = False
    world.chain.mine()
    world.sender.send(wish("a"), "a")
    assert (world.times("a"), world.times("b")) == (1, 0)


@pytest.mark.parametrize(("waited", "offers"), [(59.9, 1), (60.0, 2)])
def test_a_higher_price_is_offered_after_the_wait_and_not_before(waited: float, offers: int, world: World) -> None:
    """By an eighth at least, for both prices."""
    world.submitted("a")
    world.hands.turn(waited)
    world.sender.tick()
    prices = [attempt.fees for attempt in world.job("a").attempts]
    assert len(world.chain.offered) == len(prices) == offers
    for before, after in pairwise(prices):
        assert after.max_fee * 1000 >= before.max_fee * 1125
        assert after.tip * 1000 >= before.tip * 1125


@pytest.mark.parametrize("winner", [0, 1])
def test_the_original_or_its_replacement_may_be_mined(winner: int, world: World) -> None:
    """Either way once, and the other is recorded as replaced."""
    world.submitted("a")
    world.hands.turn(60)
    world.sender.tick()
    attempts = world.job("a").attempts
    world.chain.pool[0] = Waiting(attempts[winner].raw)
    world.chain.mine(N + 1)
    for _ in range(2):
        world.sender.tick()
    assert world.state("a") is TxState.FINAL
    states = [attempt.state for attempt in world.job("a").attempts]
    assert states == (["final", "replaced"] if winner == 0 else ["replaced", "final"])
    assert world.sender.send(wish("a"), "a").tx_hash == attempts[winner].tx_hash


def test_prices_rise_up_to_the_cap_and_attempts_up_to_their_number(tmp_path: Path) -> None:
    """Afterwards the last one is only offered again."""
    for fees, expected in ((FeePolicy(300, 500), 3), (FeePolicy(10**9, 10**9, max_attempts=4), 4)):
        world = World(tmp_path / str(expected), policy=SenderPolicy(fees=fees))
        world.submitted("a")
        for _ in range(10):
            world.hands.turn(60)
            world.sender.tick()
        attempts = world.job("a").attempts
        assert len(attempts) == expected
        assert attempts[-1].fees.max_fee <= fees.max_fee_cap
        assert len(world.chain.offered) == 11
        world.sender.close()


def test_a_price_over_the_cap_signs_nothing(world: World) -> None:
    """At the cap it does; one past it the wish waits for a better day if it has a key."""
    world.chain.prices = Market(base_fee=991, tip=10)
    with pytest.raises(FeeTooHigh):
        world.sender.send(wish("a"), "a")
    assert world.state("a") is TxState.PLANNED
    world.chain.prices = Market(base_fee=990, tip=10)
    world.submitted("a")
    assert world.job("a").attempts[0].fees.max_fee == 1_000


def test_a_reorg_puts_a_mined_transaction_back_and_offers_it_again(world: World) -> None:
    """Also when the nodes have forgotten it."""
    world.submitted("a")
    world.chain.mine()
    world.sender.tick()
    assert world.state("a") is TxState.MINED
    world.chain.reorganise(1, keep=False)
    world.sender.tick()
    assert world.state("a") is TxState.BROADCAST
    assert world.job("a").inclusion is None
    world.chain.mine(2)
    world.sender.tick()
    assert world.job("a").inclusion == world.chain.find([world.job("a").attempts[0].tx_hash])
    world.chain.mine(N)
    world.sender.tick()
    assert world.state("a") is TxState.FINAL


def test_a_reorg_that_moves_it_to_another_block_starts_the_count_anew(world: World) -> None:
    """Its new block counts."""
    world.submitted("a")
    world.chain.mine(2)
    world.sender.tick()
    world.chain.reorganise(2)
    world.chain.blocks.append(())
    world.chain.salts.append(7)
    world.chain.mine(N)
    world.sender.tick()
    inclusion = world.job("a").inclusion
    assert inclusion is not None
    assert (world.state("a"), inclusion.block) == (TxState.MINED, 2)


def test_numbers_that_another_program_took_are_passed_over(world: World) -> None:
    """Waiting ones and mined ones."""
    mining(world)
    world.chain.foreign()
    world.chain.mine()
    world.chain.foreign()
    world.sender.send(wish("a"), "a")
    assert world.job("a").nonce == 2


def test_a_number_taken_after_signing_is_replaced_once_that_is_final(world: World) -> None:
    """Not before: a re-org could still bring ours back."""
    world.submitted("a")
    world.chain.foreign(nonce=0)
    world.chain.mine(N)
    world.sender.tick()
    assert world.state("a") is TxState.BROADCAST
    world.chain.mine()
    world.sender.tick()
    assert world.state("a") is TxState.REPLACED
    mining(world)
    world.sender.send(wish("a"), "a")
    assert (world.job("a").nonce, world.times("a")) == (1, 1)


def test_send_finds_a_new_number_by_itself_when_its_own_was_taken(world: World) -> None:
    """While it waits."""
    taken: list[int] = []

    def race() -> None:
        if not taken:
            taken.append(1)
            world.chain.foreign(nonce=0)
            world.chain.mine()

    world.chain.before_offer = race
    mining(world)
    world.sender.send(wish("a"), "a")
    assert (world.job("a").nonce, world.times("a")) == (1, 1)


def test_a_transaction_that_may_be_forgotten_is_never_taken_for_replaced(world: World) -> None:
    """At the limit it is replaced; a moment later nobody can say, and nothing more is sent."""
    world.submitted("a", "b")
    world.chain.mine(N + 1)
    world.chain.forgets = True
    world.hands.turn(1_000)
    assert world.sender._mined_or_replaced(world.job("a")) is not None
    world.hands.turn(1)
    world.sender.tick()
    assert world.state("b") is TxState.BROADCAST
    with pytest.raises(TransactionLost):
        world.sender.send(wish("b"), "b")
    assert (world.times("a"), world.times("b")) == (1, 1)


def test_a_gap_before_a_waiting_transaction_is_filled(world: World) -> None:
    """A refused one left it; nothing behind it could be mined."""
    world.submitted("a", "b")
    del world.chain.pool[0]
    job = world.job("a")
    with world.store._database.transaction() as db:
        db.execute("UPDATE jobs SET state = 'failed' WHERE number = ?", (job.number,))
    for _ in range(2):
        world.sender.tick()
    world.chain.mine()
    assert [one.fields["to"] for one in world.chain.mined()] == [ACCOUNT, SOMEBODY]
    assert world.times("b") == 1


def test_what_was_signed_and_never_offered_is_offered_after_a_restart(world: World) -> None:
    """With its own number: there is no gap."""
    world.sender.submit(wish("a"), "a")
    world.sender.tick()
    assert world.state("a") is TxState.SIGNED
    world.restart()
    world.sender.tick()
    world.chain.mine()
    world.sender.tick()
    assert world.state("a") is TxState.MINED


def test_a_wish_without_a_key_that_was_never_signed_ends_with_its_process(world: World) -> None:
    """Whoever made it would make it again; one with a key goes on."""
    unkeyed = world.sender.submit(wish("a"))
    world.sender.submit(wish("b"), "b")
    world.restart()
    assert world.store.job(unkeyed.number).state is TxState.FAILED
    for _ in range(2):
        world.sender.tick()
    world.chain.mine()
    assert (world.times("a"), world.times("b")) == (0, 1)


def test_a_failure_that_a_tick_found_is_told_to_who_waits(world: World) -> None:
    """With its reason."""

    def refuse() -> None:
        job = world.job("a")
        if job.state is TxState.SIGNED:
            world.store.move(job, TxState.FAILED, reason="insufficient funds")

    world.chain.foreign(nonce=0, price=10**9)
    world.chain.next_number = lambda _: 0  # type: ignore[method-assign]
    world.on_sleep = refuse
    with pytest.raises(TransactionFailed, match="insufficient funds"):
        world.sender.send(wish("a"), "a")


def test_one_process_at_a_time_sends_for_an_account(world: World) -> None:
    """The second one is told so, and may once the first has gone."""
    with pytest.raises(ClientLocked):
        TxStore(world.folder, 31337, ACCOUNT)
    TxStore(world.folder, 1, ACCOUNT).close()
    world.restart()


def test_states_change_only_as_the_table_says(world: World) -> None:
    """And only from the state that was read."""
    job = world.sender.submit(wish("a"), "a")
    with pytest.raises(ClientStoreError, match="cannot go"):
        world.store.move(job, TxState.FINAL)
    attempt = Attempt(b"h", b"r", 0, 1, Fees(1, 1), TxState.SIGNED, NOW, None)
    world.store.sign(job, attempt)
    with pytest.raises(ClientStoreError, match="no longer"):
        world.store.move(job, TxState.FAILED)


def test_a_refused_transaction_that_was_passed_on_all_the_same_is_found(world: World) -> None:
    """The endpoint lied; asked again, it is not sent a second time."""
    world.chain.refusal = TransactionRefused(-32000, "insufficient funds")
    with pytest.raises(TransactionRefused):
        world.sender.send(wish("a"), "a")
    world.chain.refusal = None
    leaked = Waiting(world.job("a").attempts[0].raw)
    world.chain.pool[0] = leaked
    world.chain.mine(N + 2)
    assert world.sender.send(wish("a"), "a").tx_hash == leaked.tx_hash
    world.chain.mine(N + 2)
    assert world.times("a") == 1


def test_a_refusal_after_a_crash_is_believed_only_if_no_block_has_it(world: World) -> None:
    """It was offered, mined, and took the money whose lack is the reason now."""
    world.sender.submit(wish("a"), "a")
    world.sender.tick()
    world.chain.offer(world.job("a").attempts[0].raw)
    world.restart()
    world.chain.mine()
    world.chain.refusal = TransactionRefused(-32000, "insufficient funds")
    world.sender.tick()
    assert world.state("a") is TxState.MINED


def test_a_replacement_that_was_signed_and_not_offered_is_offered_after_a_crash(world: World) -> None:
    """That one, and no third."""
    world.submitted("a")
    job = world.job("a")
    second = world.sender._signed(job, 0, 21_000, Fees(500, 50))
    world.store.sign(job, second)
    world.restart()
    world.sender.tick()
    assert world.chain.offered[1:] == [second.raw]
    assert len(world.job("a").attempts) == 2


def test_what_is_mined_between_two_questions_is_not_taken_for_somebody_elses(tmp_path: Path) -> None:
    """Where one block is final at once, the count would say so before the receipt was there."""
    world = World(tmp_path, policy=SenderPolicy(confirmations=0))
    world.submitted("a")
    find = world.chain.find

    def late(hashes: list[bytes]) -> object:
        found = find(hashes)
        world.chain.mine()
        return found

    world.chain.find = late  # type: ignore[method-assign, assignment]
    for _ in range(3):
        world.sender.tick()
    assert world.state("a") is TxState.FINAL
    assert len(world.job("a").attempts) == 1
    world.sender.close()


def test_a_number_that_was_never_offered_and_is_taken_meanwhile_is_given_up(world: World) -> None:
    """Signed, the process died, another program used the number; the wish is carried out with the next one."""
    world.sender.submit(wish("a"), "a")
    world.sender.tick()
    world.sender.close()
    world.chain.foreign(nonce=0)
    world.chain.mine(N + 1)
    world.start()
    mining(world)
    world.sender.send(wish("a"), "a")
    assert [attempt.nonce for attempt in world.job("a").attempts] == [0, 1]
    assert world.times("a") == 1


@pytest.mark.parametrize(("waited", "sent"), [(1_000, True), (1_001, False)])
def test_a_refused_transaction_of_long_ago_gets_no_second_number(waited: int, sent: bool, world: World) -> None:
    """Its endpoint may have lied, and the others have forgotten what they mined."""
    world.chain.refusal = TransactionRefused(-32000, "insufficient funds")
    with pytest.raises(TransactionRefused):
        world.sender.send(wish("a"), "a")
    world.chain.refusal = None
    world.chain.foreign(nonce=0)
    world.chain.mine(N + 1)
    world.hands.turn(waited)
    mining(world)
    if sent:
        world.sender.send(wish("a"), "a")
    else:
        with pytest.raises(TransactionLost, match="long ago"):
            world.sender.send(wish("a"), "a")
    assert world.times("a") == int(sent)


def test_what_was_proven_to_be_replaced_gets_a_new_number_however_old_it_is(world: World) -> None:
    """Nothing of it can ever be mined."""
    world.submitted("a")
    world.chain.foreign(nonce=0)
    world.chain.mine(N + 1)
    world.sender.tick()
    assert world.state("a") is TxState.REPLACED
    world.hands.turn(10_000)
    mining(world)
    world.sender.send(wish("a"), "a")
    assert world.times("a") == 1
