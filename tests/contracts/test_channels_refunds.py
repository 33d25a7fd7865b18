"""Channels: what a client gets back of what it paid a convicted node, and whose money that never is."""

from dataclasses import astuple, replace
from typing import Any

import pytest

from incentives.vouchers import ChannelKey
from tests.contracts.refunds import POSITIONS, convict, digest_of, other_leaf, refunding, session_of
from tests.contracts.world import CLOSE_DELAY, GAS, MATURITY, WORK, World, dev, hot, only_event, word
from verification.routes import Route

PAYER, OTHER, STRANGER = dev(1), dev(2), dev(9)
SIGNER = hot("client")
GUILTY, HONEST = hot("node 0").address, hot("node 1").address
WORDS = [word(GUILTY, 4_000), word(HONEST, 6_000)]


@pytest.fixture
def key(world: World) -> ChannelKey:
    """A channel with 1,000 locked and 500 settled in the first seconds of a window."""
    opened = world.channel(PAYER, SIGNER, WORDS, 1_000)
    world.next_block_at((world.chain.head().timestamp // MATURITY + 2) * MATURITY)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, opened, 500), gas=GAS)
    return opened


@pytest.fixture
def route(world: World, key: ChannelKey) -> Route:
    """A session on it, in which a node was convicted."""
    made = session_of(world, key)
    convict(world, made, GUILTY)
    return made


def free(world: World, payer: Any = PAYER) -> int:
    return int(world.view(world.channels, "freeOf", payer.address))


def refund(world: World, key: ChannelKey, route: Route, amount: int, cumulative: int = 500, index: int = 0) -> Any:
    return world.send(
        STRANGER, world.channels, "refund", *refunding(world, SIGNER, key, WORDS, index, route, cumulative, amount)
    )


def refused(world: World, key: ChannelKey, route: Route, amount: int, cumulative: int = 500, index: int = 0) -> Any:
    call = refunding(world, SIGNER, key, WORDS, index, route, cumulative, amount)
    return world.refusal(STRANGER, world.channels, "refund", *call)


def nothing(world: World, route: Route, index: int = 0) -> Any:
    return "NothingToRefund", (digest_of(world, route), index)


def collect_all(world: World) -> tuple[int, int]:
    """What both nodes have in the end."""
    world.ripen()
    for index in (0, 1):
        if (
            world.view(world.channels, "drawnOf", world.channel(PAYER, SIGNER, WORDS).payees, index)
            < (2_000, 3_000)[index]
        ):
            try_collect(world, index)
    return world.balance(GUILTY), world.balance(HONEST)


def try_collect(world: World, index: int) -> None:
    pot = world.ripe(world.channel(PAYER, SIGNER, WORDS).payees)
    drawn = world.view(world.channels, "drawnOf", world.channel(PAYER, SIGNER, WORDS).payees, index)
    if pot * (4_000, 6_000)[index] // 10_000 > drawn:
        world.send(STRANGER, world.channels, "collect", WORDS, index)


def test_the_guilty_share_of_a_session_goes_back_and_nobody_else_pays(
    world: World, key: ChannelKey, route: Route
) -> None:
    """Anybody may call; it is the payer's free balance; the honest node has what it would have had."""
    sent = refund(world, key, route, 300)
    assert only_event(sent) == (
        "Refunded",
        {
            "channel": key.id(world.domain(world.channels)),
            "route": digest_of(world, route),
            "node": GUILTY,
            "index": 0,
            "amount": 120,
        },
    )
    assert free(world) == 120
    assert world.view(world.channels, "returnedOf", digest_of(world, route), 0) == 300
    assert world.view(world.channels, "drawnOf", key.payees, 0) == 120
    assert collect_all(world) == (200 - 120, 300)
    world.send(PAYER, world.channels, "withdraw", 120)
    assert world.balance(world.channels.address) == 500


def test_no_session_is_refunded_twice(world: World, key: ChannelKey, route: Route) -> None:
    """Neither by the same voucher nor by an older one; one that says more gives the difference."""
    refund(world, key, route, 200)
    for amount in (200, 199, 1):
        assert refused(world, key, route, amount) == nothing(world, route)
    refund(world, key, route, 300)
    assert free(world) == 120
    assert refused(world, key, route, 300) == nothing(world, route)


def test_no_more_than_was_settled_comes_back(world: World, key: ChannelKey, route: Route) -> None:
    """The client alone signs what was for which session: it gets what its channel has paid that node, whatever it says."""
    refund(world, key, route, 2**255)
    assert free(world) == 200
    more = session_of(world, key, 1)
    convict(world, more, GUILTY)
    assert refused(world, key, more, 500) == nothing(world, more)
    assert collect_all(world) == (0, 300)


def test_two_sessions_together_give_no_more_than_the_channel_paid(world: World, key: ChannelKey, route: Route) -> None:
    """300 for each were said, 500 were settled."""
    more = session_of(world, key, 1)
    convict(world, more, GUILTY)
    refund(world, key, route, 300)
    refund(world, key, more, 300)
    assert free(world) == 200
    assert world.view(world.channels, "returnedOf", digest_of(world, more), 0) == 200


def test_what_is_ripe_stays_the_nodes(world: World, key: ChannelKey, route: Route) -> None:
    """The last second of the next window is in time, the second after it is not; collected or not."""
    call = refunding(world, SIGNER, key, WORDS, 0, route, 500, 300)
    start = world.chain.head().timestamp // MATURITY * MATURITY
    world.next_block_at(start + 2 * MATURITY - 1)
    world.send(STRANGER, world.channels, "refund", *call, gas=GAS)
    assert free(world) == 120
    later = refunding(world, SIGNER, key, WORDS, 0, route, 500, 301)
    world.next_block_at(start + 2 * MATURITY)
    assert world.refusal(STRANGER, world.channels, "refund", *later, gas=GAS) == nothing(world, route)
    assert collect_all(world) == (80, 300)


def test_the_part_of_a_channel_that_is_ripe_is_not_refunded(world: World, key: ChannelKey, route: Route) -> None:
    """500 from long ago and 100 from now: of a session that says 600 only 100 come back."""
    world.ripen()
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 600))
    refund(world, key, route, 600, 600)
    assert free(world) == 40
    assert collect_all(world) == (200, 360)


def test_settling_again_in_the_next_window_hides_nothing(world: World, key: ChannelKey, route: Route) -> None:
    """The node brings the next voucher itself: what is not ripe is refunded all the same."""
    world.pass_time(MATURITY)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 501))
    refund(world, key, route, 501, 501)
    assert free(world) == 501 * 4_000 // 10_000


def test_another_channel_on_the_same_pot_gets_nothing_of_it(world: World, key: ChannelKey, route: Route) -> None:
    """A Sybil with a session of its own and the node convicted in it: what it has not settled lately it does not get."""
    world.ripen()
    sybil = world.channel(OTHER, SIGNER, WORDS, 1_000)
    own = session_of(world, sybil)
    convict(world, own, GUILTY)
    assert refused(world, sybil, own, 500, 0) == nothing(world, own)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, sybil, 900))
    world.ripen()
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 1_000))
    assert refused(world, sybil, own, 900, 900) == nothing(world, own)  # its own is ripe, the pot is full of another's
    refund(world, key, route, 500, 1_000)
    assert (free(world), free(world, OTHER)) == (200, 0)
    foreign = refunding(world, SIGNER, sybil, WORDS, 0, route, 900, 500)
    named = ("RouteForeign", (route.channel,))
    assert world.refusal(STRANGER, world.channels, "refund", *foreign) == named


def test_who_comes_last_gets_as_much_as_who_comes_first(world: World, key: ChannelKey, route: Route) -> None:
    """Two victims of one pot: the shares of their channels are together the pot's."""
    second = world.channel(OTHER, SIGNER, WORDS, 700)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, second, 700))
    theirs = session_of(world, second)
    convict(world, theirs, GUILTY)
    refund(world, key, route, 2**200)
    refund(world, second, theirs, 2**200, 700)
    assert (free(world), free(world, OTHER)) == (200, 280)
    assert collect_all(world) == (0, 720)


def test_a_node_that_denounces_itself_gets_its_own_money(world: World) -> None:
    """Client and node are one: what comes back is its own share, the other node's and the other clients' stays."""
    own = world.channel(OTHER, SIGNER, WORDS, 100)
    honest = world.channel(PAYER, SIGNER, WORDS, 900)
    for opened, amount in ((own, 100), (honest, 900)):
        world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, opened, amount))
    forged = session_of(world, own)
    convict(world, forged, GUILTY)
    refund(world, own, forged, 10**6, 100)
    assert free(world, OTHER) == 40
    assert collect_all(world) == (400 - 40, 600)


def test_a_collection_between_changes_nothing(world: World, key: ChannelKey, route: Route) -> None:
    """Ripe money drawn before, during and after: in the end the node has its shares less the refund."""
    world.ripen()
    world.send(STRANGER, world.channels, "collect", WORDS, 0)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 1_000))
    refund(world, key, route, 100, 1_000)
    refunded = ("NothingToCollect", (key.payees, 0))
    assert world.refusal(STRANGER, world.channels, "collect", WORDS, 0) == refunded
    refund(world, key, route, 10**9, 1_000)
    assert free(world) == 200
    assert collect_all(world) == (200, 600)


def test_a_channel_that_ended_is_refunded_as_well(world: World, key: ChannelKey, route: Route) -> None:
    """The payer takes back the rest first; its windows are kept."""
    world.send(PAYER, world.channels, "close", astuple(key))
    assert world.channel_state(key)[2] == world.chain.head().timestamp + CLOSE_DELAY
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 600))
    world.pass_time(CLOSE_DELAY)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, key, 650))
    world.send(PAYER, world.channels, "reclaim", astuple(key))
    refund(world, key, route, 650, 650)
    assert free(world) == 350 + 20


def test_only_a_convicted_payee_pays(world: World, key: ChannelKey) -> None:
    """Nobody was; another node; another route; then the right one, whose neighbour still does not pay."""
    innocent = session_of(world, key)
    digest = digest_of(world, innocent)
    assert refused(world, key, innocent, 300) == ("NotConvicted", (digest, GUILTY))
    convict(world, innocent, STRANGER.address)
    convict(world, session_of(world, key, 1), GUILTY)
    assert refused(world, key, innocent, 300) == ("NotConvicted", (digest, GUILTY))
    convict(world, innocent, GUILTY)
    assert refused(world, key, innocent, 300, index=1) == ("NotConvicted", (digest, HONEST))
    refund(world, key, innocent, 300)


def test_a_changed_route_is_another_route(world: World, key: ChannelKey, route: Route) -> None:
    """Each field of the terms is in the digest that the court has convicted on."""
    for changed in (replace(route, epoch=1), replace(route, window=17), replace(route, stages=route.stages[:1])):
        refusal = refused(world, key, changed, 300)
        assert refusal == ("NotConvicted", (digest_of(world, changed), GUILTY))


def test_only_a_settled_voucher_with_that_session_counts(world: World, key: ChannelKey, route: Route) -> None:
    """One unit past what is settled; a foreign signature; another amount, positions, proof or session."""
    assert refused(world, key, route, 300, 501) == ("VoucherNotSettled", (500, 501))
    call = refunding(world, STRANGER, key, WORDS, 0, route, 500, 300)
    assert world.refusal(STRANGER, world.channels, "refund", *call) == ("SignatureInvalid", ())
    *head, paid = refunding(world, SIGNER, key, WORDS, 0, route, 500, 300, [other_leaf(1), other_leaf(2)])
    amount, positions, proof = paid[4:]
    assert (amount, positions, len(proof)) == (300, POSITIONS, 2)
    for forged in (
        (301, positions, proof),
        (amount, positions + 1, proof),
        (amount, positions, proof[:1]),
        (amount, positions, [WORK, *proof]),
    ):
        refusal = world.refusal(STRANGER, world.channels, "refund", *head, (*paid[:4], *forged))
        assert refusal == ("WorkNotHeld", (paid[1],))
    too_long = (*paid[:4], amount, positions, [WORK] * 65)
    assert world.refusal(STRANGER, world.channels, "refund", *head, too_long) == ("ProofTooLong", (65, 64))
    world.send(STRANGER, world.channels, "refund", *head, paid)
    assert free(world) == 120


def test_payees_are_those_of_the_channel_and_whole(world: World, key: ChannelKey, route: Route) -> None:
    """Other words, a place that is not there; and words that no pot can pay by."""
    *head, _, terms, paid = refunding(world, SIGNER, key, WORDS, 0, route, 500, 300)
    assert world.refusal(STRANGER, world.channels, "refund", head[0], WORDS[::-1], 0, terms, paid)[0] == "PayeesWrong"
    refusal = world.refusal(STRANGER, world.channels, "refund", *head, 2, terms, paid)
    assert refusal == ("PayeeUnknown", (2, 2))
    unsound = [WORDS[0], word(HONEST, 6_001)]
    lost = world.channel(PAYER, SIGNER, unsound, 100)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, lost, 100))
    made = session_of(world, lost)
    convict(world, made, GUILTY)
    call = refunding(world, SIGNER, lost, unsound, 0, made, 100, 100)
    assert world.refusal(STRANGER, world.channels, "refund", *call) == ("PayeesInvalid", (10_001,))


def test_less_than_a_unit_is_nothing(world: World, key: ChannelKey, route: Route) -> None:
    """2 x 4,000 / 10,000 is less than one; nothing is used up by trying."""
    assert refused(world, key, route, 2) == nothing(world, route)
    refund(world, key, route, 3)
    assert free(world) == 1


def test_the_greatest_amounts_overflow_nothing(world: World) -> None:
    """A channel of 2^96 - 1, all of it one node's and all of it said to be for one session."""
    world.give(PAYER, 2**96)
    words = [word(GUILTY, 10_000)]
    opened = world.channel(PAYER, SIGNER, words, 2**96 - 1)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, opened, 2**96 - 1))
    made = session_of(world, opened)
    convict(world, made, GUILTY)
    call = refunding(world, SIGNER, opened, words, 0, made, 2**96 - 1, 2**256 - 1)
    world.send(STRANGER, world.channels, "refund", *call)
    assert free(world) == 2**96 - 1


def test_a_long_lived_channel_gives_back_a_little_less_never_more(world: World) -> None:
    """What a channel settled before is rounded up to 16 binary digits."""
    opened = world.channel(PAYER, SIGNER, WORDS, 10**9)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, opened, 10**8 + 1))
    world.ripen()
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, opened, 2 * 10**8))
    made = session_of(world, opened)
    convict(world, made, GUILTY)
    refund(world, opened, made, 10**9, 10**8)
    exact = (10**8 - 1) * 4_000 // 10_000
    assert exact - (10**8 >> 15) <= free(world) < exact


def test_rounded_up_past_all_that_was_settled_nothing_is_left_to_refund(world: World) -> None:
    """10^8 + 1 begin a window as 100,001,792: a unit more is settled in it, which is then less than what counts as ripe."""
    opened = world.channel(PAYER, SIGNER, WORDS, 10**9)
    made = session_of(world, opened)
    convict(world, made, GUILTY)
    start = (world.chain.head().timestamp // MATURITY + 2) * MATURITY
    for window, cumulative in ((0, 10**8 + 1), (1, 10**8 + 2)):
        world.next_block_at(start + window * MATURITY)
        world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, opened, cumulative), gas=GAS)
    world.pass_time(MATURITY)
    assert refused(world, opened, made, 10**8, 10**8 + 2) == nothing(world, made)


def test_where_window_numbers_come_round_again_the_pot_gives_no_more_than_its_own_unripe_part(
    world: World, key: ChannelKey, route: Route
) -> None:
    """65,536 windows later an idle channel looks new, its pot does not: what others paid since is all that can be taken."""
    start = world.chain.head().timestamp // MATURITY * MATURITY
    other = world.channel(OTHER, SIGNER, WORDS, 100)
    world.next_block_at(start + 65_535 * MATURITY)
    world.send(STRANGER, world.channels, "settle", *world.voucher(SIGNER, other, 100), gas=GAS)
    world.next_block_at(start + 65_536 * MATURITY)
    call = refunding(world, SIGNER, key, WORDS, 0, route, 500, 300)
    world.send(STRANGER, world.channels, "refund", *call, gas=GAS)
    assert free(world) == 40
    assert collect_all(world) == (200, 360)
