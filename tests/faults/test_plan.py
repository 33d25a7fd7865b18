"""A plan is its seed: the same one every time, and what is printed is enough to have it again."""

from tests.faults import plan as plan_module
from tests.faults.plan import ON_NODES, Fault, FaultPlan, Kind

RING = (("client",), ("a", "a2"), ("b", "b2"))


def test_a_seed_always_gives_the_same_plan_and_another_one_another() -> None:
    """Two hundred of them, nearly all different."""
    plans = [FaultPlan.from_seed(seed, RING) for seed in range(200)]

    assert plans == [FaultPlan.from_seed(seed, RING) for seed in range(200)]
    assert len({plan.faults for plan in plans}) > 190


def test_a_printed_plan_is_python_that_makes_it_again() -> None:
    """So that a failure's text can be pasted into a test."""
    printed = repr(FaultPlan.from_seed(7, RING))
    names = {"Fault": Fault, "FaultPlan": FaultPlan, "Kind": plan_module.Kind}
    tree = compile(printed, "plan", "eval")

    assert set(tree.co_names) <= names.keys() | {kind.name for kind in Kind}
    assert f"Kind.{FaultPlan.from_seed(7, RING).faults[0].kind.name}" in printed


def test_faults_are_on_neighbours_of_the_ring_and_the_client_is_never_killed() -> None:
    """A link is between two stages next to each other, or between the client and the first or last one."""
    faults = [fault for seed in range(500) for fault in FaultPlan.from_seed(seed, RING).faults]
    place = {name: at for at, names in enumerate(RING) for name in names}

    assert all((place[each.source] - place[each.target]) % 3 in (1, 2) for each in faults if each.target)
    assert all(each.source != "client" and not each.target for each in faults if each.kind in ON_NODES)
    assert {each.target != "" for each in faults} == {True, False}


def test_a_fault_without_a_target_counts_everything_that_its_source_sends() -> None:
    """With one it counts that link alone."""
    anybody, one = Fault(Kind.STALL, "a", 3), Fault(Kind.DROP, "a", 3, "b")

    assert anybody.matches("a", "b", 0, 3)
    assert not anybody.matches("a", "b", 3, 4)
    assert one.matches("a", "b", 3, 9)
    assert not one.matches("a", "client", 3, 3)
    assert not one.matches("b", "a", 3, 3)


def test_latency_is_the_seeds_and_within_its_bounds() -> None:
    """Each message has its own, whatever was sent before it."""
    plan = FaultPlan(1, 0.005, 0.002)
    drawn = [plan.latency("a", "b", nth) for nth in range(100)]

    assert drawn == [plan.latency("a", "b", nth) for nth in range(100)]
    assert 0.005 <= min(drawn) < max(drawn) <= 0.007
    assert FaultPlan(1, 0.005).latency("a", "b", 1) == 0.005
