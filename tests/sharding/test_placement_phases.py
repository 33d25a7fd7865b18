"""A node's way through a move: it claims, waits, drains, loads, and takes blocks up again that nobody else holds any longer."""

from dataclasses import replace

from sharding.placement import current
from sharding.placement_phases import join, leave, load_failed, may_go, step
from sharding.placement_values import Holding, Move, Phase
from tests.sharding.placement_cases import moving, offer, serving, spans, view, world


def test_a_joining_node_claims_waits_loads_and_serves() -> None:
    """At one second of settling it goes on, just before it does not; a load that is not done is waited for."""
    others = view(serving("b", "0:2"))
    rules = world(4, settle=1.0)

    claim = join(offer("a", 2), others, rules, 10.0)
    assert (claim.phase, claim.spans, claim.move) == (Phase.CLAIMING, (), Move((), spans("2:4"), closes=2))
    assert step("a", {**others, "a": claim}, rules, 10.9, done=False) == claim

    loading = step("a", {**others, "a": claim}, rules, 11.0, done=False)
    assert (loading.phase, loading.since) == (Phase.LOADING, 11.0)
    assert step("a", {**others, "a": loading}, rules, 60.0, done=False) == loading

    assert step("a", {**others, "a": loading}, rules, 60.0, done=True) == Holding(
        offer("a", 2), spans("2:4"), Phase.SERVING, 60.0
    )


def test_of_two_nodes_that_join_at_once_each_takes_a_gap_of_its_own() -> None:
    """Whatever both claimed before they heard of each other: after settling they load different blocks."""
    others = view(serving("c", "1:3"))
    for seed in range(8):
        rules = replace(world(4), seed=bytes([seed]))
        claims = {name: join(offer(name, 1), others, rules, 0.0) for name in ("a", "b")}
        loading = [step(name, {**others, **claims}, rules, 1.0, done=False) for name in claims]
        taken = sorted(span for each in loading if each.move for span in each.move.take)

        assert taken == sorted(spans("0:1", "3:4"))


def test_a_move_drains_before_it_lets_go() -> None:
    """Claim, drain and load follow each other; the given block leaves memory only when the drain is done."""
    rules = world(3)
    crowd = view(serving("a", "0:1"), serving("b", "0:1"), serving("c", "1:2"))
    [name] = [n for n in ("a", "b") if step(n, crowd, rules, 0.0, done=False).move][:1] or ["a"]
    claim = moving(crowd[name], Phase.CLAIMING, give="0:1", take="2:3", closes=1)

    draining = step(name, {**crowd, name: claim}, rules, 1.0, done=False)
    assert (draining.phase, draining.spans, draining.serving) == (Phase.DRAINING, spans("0:1"), ())

    loading = step(name, {**crowd, name: draining}, rules, 1.5, done=True)
    assert (loading.phase, loading.spans, loading.move) == (Phase.LOADING, (), claim.move)

    assert step(name, {**crowd, name: loading}, rules, 3.0, done=True).spans == spans("2:3")


def test_a_drain_ends_at_its_limit() -> None:
    """30 seconds where others hold the new block, one where nobody does, even if the gap is younger than the move."""
    own = moving(serving("a", "0:1"), Phase.DRAINING, give="0:1", take="1:2")
    for other, limit in (("0:2", 30.0), ("0:1", 1.0)):
        crowd = view(own, serving("b", other))

        assert step("a", crowd, world(2), limit - 0.1, done=False) == own
        assert step("a", crowd, world(2), limit, done=False).phase is Phase.LOADING


def test_a_node_that_says_nothing_is_not_relied_on() -> None:
    """It may be dead and nobody knows it yet: neither a claim nor a departure counts on its copy."""
    claim = moving(serving("a", "0:1"), Phase.CLAIMING, give="0:1", take="1:2", closes=1)
    other = serving("b", "0:1")
    silent = frozenset({"b"})

    assert step("a", view(claim, other), world(2), 1.0, done=False).phase is Phase.DRAINING
    assert step("a", view(claim, other), world(2), 1.0, done=False, silent=silent).phase is Phase.SERVING

    leaving = view(leave(serving("a", "0:1"), 0.0), other)
    assert may_go("a", leaving, world(2), 1.0)
    assert not may_go("a", leaving, world(2), 1.0, silent)


def test_a_drain_is_taken_back_when_the_other_holder_is_gone() -> None:
    """The weights are still in memory, so the block is served again at once."""
    own = moving(serving("a", "0:1"), Phase.DRAINING, give="0:1", take="1:2")

    assert step("a", view(own), world(2), 0.5, done=True) == serving("a", "0:1", since=0.5)


def test_a_claim_that_is_no_longer_right_is_taken_back_and_rests() -> None:
    """The gap was closed in the meantime; since is now, so that the node's rest begins."""
    own = moving(serving("a", "0:1", room=1), Phase.CLAIMING, take="1:2", closes=1)

    assert step("a", view(own, serving("b", "1:2")), world(2), 1.0, done=False) == serving(
        "a", "0:1", room=1, since=1.0
    )


def test_a_gap_that_free_memory_closes_waits_for_nobody() -> None:
    """No claim, no drain: loading begins in the same step."""
    loading = step("a", view(serving("a", "0:1", room=1)), world(2), 5.0, done=False)

    assert (loading.phase, loading.since, loading.serving) == (Phase.LOADING, 5.0, spans("0:1"))


def test_a_move_that_only_gives_ends_with_its_drain() -> None:
    """There is nothing to load."""
    own = moving(serving("a", "0:2"), Phase.DRAINING, give="0:1")

    assert step("a", view(own, serving("b", "0:1")), world(2), 1.0, done=True).spans == spans("1:2")


def test_a_load_that_fails_leaves_what_was_kept() -> None:
    """The given blocks are gone, the others are served."""
    own = moving(serving("a", "0:2"), Phase.LOADING, give="0:1", take="2:3")

    assert load_failed(own, 9.0) == Holding(own.offer, spans("1:2"), Phase.SERVING, 9.0)


def test_a_leaving_node_goes_when_it_is_released_or_out_of_patience() -> None:
    """Not before everybody has heard of it, even where others hold its blocks; alone it waits 300 seconds."""
    rules = world(1, settle=1.0, patience=300.0)
    leaving = leave(serving("a", "0:1"), 10.0)
    helped, alone = view(leaving, serving("b", "0:1")), view(leaving)

    assert (leaving.phase, leaving.serving) == (Phase.LEAVING, spans("0:1"))
    assert [may_go("a", helped, rules, now) for now in (10.9, 11.0)] == [False, True]
    assert [may_go("a", alone, rules, now) for now in (309.9, 310.0)] == [False, True]
    assert step("a", helped, rules, 400.0, done=True) == leaving


def test_the_others_cover_for_a_leaving_node_before_it_goes() -> None:
    """Its blocks count as uncovered while it still serves them."""
    leaving = leave(serving("a", "0:1"), 0.0)

    found = step("b", view(leaving, serving("b", "1:2", room=1)), world(2), 1.0, done=False)

    assert found.move == Move((), spans("0:1"), closes=1)


def test_whoever_never_finishes_loading_does_not_hide_a_gap_for_ever() -> None:
    """At 300 seconds the announced block counts as uncovered again."""
    stuck = moving(serving("s"), Phase.LOADING, take="1:2", closes=1, since=0.0)
    both = view(stuck, serving("a", "0:1", room=1))

    assert step("a", both, world(2), 299.9, done=False).move is None
    assert step("a", both, world(2), 300.0, done=False).move == Move((), spans("1:2"), closes=1)
    assert current(both, world(2), 300.0)["s"].planned == ()
