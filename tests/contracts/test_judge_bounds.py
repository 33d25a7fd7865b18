"""Judge: where a trace meets what was signed, where it stops, and which proof shows the first wrong leaf."""

from dataclasses import replace
from random import Random

import pytest

from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.contracts.disputed import POSITION, Case, case
from tests.contracts.judging import EARLIER, NODE, Bench, is_wrong
from tests.contracts.world import dev
from verification.trace.evidence import pair
from verification.trace.first_wrong import Fault, Finding, first_wrong
from verification.trace.layout import Spot
from verification.trace.posted import LeafTree, PostedTrace
from verification.trace.signed_places import signed_place, signed_spots
from verification.trace.tree import ABORT_BIT, Leaf

CUT = SamplingParams(temperature=1.5, top_k=140, top_p=0.9, seed=12)


@pytest.fixture(scope="session")
def middle(bench: Bench) -> Case:
    """The second block of three; qwen3."""
    return case(bench[0], bench[2], NODE, Span(1, 2), None, family="qwen3", num_blocks=3, hidden_size=150)


@pytest.fixture(scope="session")
def last(bench: Bench) -> Case:
    """The last block, where a token is drawn."""
    return case(bench[0], bench[2], NODE, Span(1, 2), CUT, vocab_size=300)


def signed_wrong(bench: Bench, made: Case, spot: Spot) -> bool:
    world, judge, _ = bench
    return bool(world.view(judge, "isSignedWrong", made.traced, made.root, made.signed(spot)))


def test_what_the_trace_says_twice_is_what_was_signed(bench: Bench, middle: Case, last: Case) -> None:
    """Every part of the output row, the token, every own head and exponent: another number than the signed one is wrong."""
    for made in (middle, last):
        spots = list(signed_spots(made.layout))
        assert len({spot.field.name.split(".", 1)[-1] for spot in spots}) == 3
        for spot in [*spots[:: max(1, len(spots) // 25)], spots[-1]]:
            assert not signed_wrong(bench, made, spot)
            assert signed_wrong(bench, made.spoilt(spot), spot)


def resigned(made: Case, spot: Spot, elements: bytes) -> Case:
    """The same trace; the node signed other elements for the spot's leaf."""
    place = signed_place(made.layout, spot)
    material = made.material
    tree = material.output if place.under_output else material.kept[0]
    at = next(k for k, leaf in enumerate(tree.leaves) if leaf.index == place.index)
    tree = tree.replaced(at, replace(tree.leaves[at], elements=elements))
    if place.under_output:
        material = replace(material, output=tree, roots=replace(material.roots, output=tree.root))
    else:
        kept = (tree, *material.kept[1:])
        material = replace(material, kept=kept, roots=replace(material.roots, kept=tree.root))
    return replace(made, material=material)


def test_signed_leaves_of_another_length_are_wrong(bench: Bench, middle: Case) -> None:
    """An element less, an element more; the trace's own, too."""
    for name, row, size in (("1.output", 0, 4), ("1.heads", 5, 2)):
        spot = middle.spot(name, row)
        place = signed_place(middle.layout, spot)
        tree = middle.material.output if place.under_output else middle.material.kept[0]
        old = tree.leaf(place.index).elements
        for elements in (old[:-size], old + bytes(size)):
            assert signed_wrong(bench, resigned(middle, spot, elements), spot)
        index = middle.layout.leaf_of(name, row, 0)
        own = middle.posted.tree.leaf(index).elements
        assert signed_wrong(bench, middle.with_leaf(index, own[:-1]), spot)


def test_what_nobody_signs_proves_nothing(bench: Bench, middle: Case) -> None:
    """A query, a row in the middle, the output of another position, roots that are not the dispute's, none at all."""
    world, judge, _ = bench
    good = middle.signed(middle.spot("1.output", 0, 130))
    roots = middle.root
    heads = middle.signed(middle.spot("1.heads", 4))
    query = heads[:6] + (0).to_bytes(4, "big") + heads[10:]
    later = *middle.traced[:4], POSITION + 1
    for traced, data, error in (
        (middle.traced, query, "PlaceInvalid"),
        (middle.traced, good[:-1] + bytes([good[-1] ^ 1]), "LeavesNotHeld"),
        (middle.traced, bytes([good[0] & ~8]) + good[1:-128], "LeavesNotHeld"),
        (later, good, "LeavesNotHeld"),
        (middle.traced, good[:-1], "ProofMalformed"),
    ):
        assert world.refusal(dev(9), judge, "isSignedWrong", traced, roots, data)[0] == error


def test_a_signed_leaf_convicts_the_posted_trace_and_no_other(bench: Bench, middle: Case) -> None:
    """What contradicts a signature has to lie under the root that the node posted, an Abort leaf as well as a number."""
    world, judge, _ = bench
    spot = middle.spot("1.output", 0, 130)
    aborted = stopped(middle, middle.spot("1.middle", 0, 3), b"\3\1")
    for made, at in ((middle.spoilt(spot), spot), (aborted, middle.spot("1.middle", 0, 3))):
        assert signed_wrong(bench, made, at)
        for root in (middle.root, bytes(32)):
            call = judge, "isSignedWrong", made.traced, root, made.signed(at)
            assert world.refusal(dev(9), *call) == ("LeavesNotHeld", ())


def test_an_abort_contradicts_only_an_output_that_was_really_signed(bench: Bench, middle: Case) -> None:
    """A changed signed leaf is under no signed root, and without any there is nothing to contradict."""
    world, judge, _ = bench
    spot = middle.spot("1.middle", 0, 3)
    made = stopped(middle, spot, b"\3\1")
    data = made.signed(spot)
    for forged in (data[:-1] + bytes([data[-1] ^ 1]), made.proof(spot).data):
        call = judge, "isSignedWrong", made.traced, made.root, forged
        assert world.refusal(dev(9), *call) == ("LeavesNotHeld", ())


def stopped(made: Case, spot: Spot, elements: bytes) -> Case:
    """The trace ends with an Abort leaf in the place of the element's."""
    index = made.layout.leaf_of(spot.field.name, spot.row, spot.column)
    leaves = [*made.posted.tree.leaves[:index], Leaf(bytes(32), index | ABORT_BIT, elements)]
    return replace(made, posted=PostedTrace(made.layout, LeafTree(leaves)))


def test_an_abort_without_a_reason_is_wrong(bench: Bench, middle: Case) -> None:
    """Where there is a number, where no operation aborts, with a reason or an element that there is not, of another length."""
    for name in ("1.qkv.y", "1.middle", "1.gated", "1.head_norm.y", "1.heads.exponent", "1.scores", "1.qkv.sums"):
        spot = middle.spot(name)
        for reason in (1, 2):
            assert is_wrong(bench, stopped(middle, spot, bytes([0, reason])), spot), name
    spot = middle.spot("1.middle", 0, 3)
    for elements in (b"\3", b"\3\1\0", b"\3\0", b"\3\3", b"\x80\1", b""):
        assert is_wrong(bench, stopped(middle, spot, elements), spot)
    other = stopped(middle, spot, b"\4\1")
    world, judge, _ = bench
    call = judge, "isElementWrong", other.traced, other.root, EARLIER, other.proof(spot).data
    assert world.refusal(dev(9), *call) == ("PlaceInvalid", ())


def test_an_abort_contradicts_a_signed_output(bench: Bench, middle: Case, last: Case) -> None:
    """Who signed what comes out at the position did not stop before; a number at that place is no Abort."""
    world, judge, _ = bench
    for made in (middle, last):
        spot = made.spot("1.middle", 0, 3)
        other = stopped(made, spot, b"\3\1")
        assert signed_wrong(bench, other, spot)
        data = made.signed(made.spot(made.layout.output.name))
        forged = bytes([data[0] | 1]) + data[1:]
        call = judge, "isSignedWrong", made.traced, made.root, forged
        assert world.refusal(dev(9), *call) == ("LeavesNotHeld", ())


def test_an_abort_with_a_reason_stands(bench: Bench, middle: Case) -> None:
    """The residual overflows; a number in its place is wrong, and the other reason is, too."""
    spot = middle.spot("1.middle", 0, 3)
    for source in ("row", "1.o.y"):
        operand = middle.spot(source, 0, 3)
        numbers = middle.posted.numbers(operand)
        assert numbers is not None
        middle = middle.spoilt(operand, 2**31 - 1 - int(numbers[0]))
    assert is_wrong(bench, middle, spot)
    assert not is_wrong(bench, stopped(middle, spot, b"\3\1"), spot)
    assert is_wrong(bench, stopped(middle, spot, b"\3\2"), spot)


def test_two_leaves_of_one_index_are_wrong_and_one_is_not(bench: Bench, middle: Case) -> None:
    """The second stands behind the last leaf."""
    world, judge, _ = bench
    leaves = [*middle.posted.tree.leaves]
    twin = replace(leaves[5], elements=bytes(8))
    tree = LeafTree([*leaves, twin])
    root, path, other = tree.root, tree.path(5), tree.path(len(leaves))
    words = pair(5, leaves[5], path, twin, other)
    assert world.view(judge, "isTwice", root, words)
    assert not world.view(judge, "isTwice", root, pair(5, leaves[5], path, leaves[5], path))
    for wrong in ((6, *words[1:]), (*words[:2], path[1:], *words[3:]), (*words[:4], path)):
        assert world.refusal(dev(9), judge, "isTwice", root, wrong) == ("LeavesNotHeld", ())
    assert world.refusal(dev(9), judge, "isTwice", bytes(32), words) == ("LeavesNotHeld", ())
    for place in (1, 3):
        short = (*words[:place], words[place][:31], *words[place + 1 :])  # type: ignore[index]
        assert world.refusal(dev(9), judge, "isTwice", root, short) == ("PlaceInvalid", ())


def finding(made: Case, honest: Case) -> Finding | None:
    return first_wrong(made.posted, honest.posted.tree.leaves, made.material.output, made.material.kept[0])


def test_the_first_wrong_leaf_names_its_proof_which_holds(bench: Bench, middle: Case, last: Case) -> None:
    """Whatever else a liar changes behind it."""
    assert finding(middle, middle) is None
    for honest, names in ((middle, ("row", "1.qkv.sums", "1.rotated", "1.keys", "1.weights", "1.down.sums", "1.output")),
                          (last, ("1.mlp_norm.shift", "head_norm.x", "head.sums", "order", "kept", "best", "chosen"))):  # fmt: skip
        for name in names:
            spot = honest.spot(name, 0, honest.layout.field(name).width - 1)
            made = honest.spoilt(spot).spoilt(honest.spot(honest.layout.output.name))
            if name != honest.layout.output.name:
                found = finding(made, honest)
                assert found is not None
                expected = Fault.PRODUCT if name in ("1.qkv.sums", "1.down.sums") else Fault.ELEMENT
                assert (found.spot, found.fault) == (spot, expected)
                assert is_wrong(bench, made, found.spot)


def test_other_faults_are_named_too(middle: Case) -> None:
    """Signed otherwise, twice, withheld, stopped too early."""
    output, heads = middle.spot("1.output", 0, 140), middle.spot("1.heads", 6, 2)
    for spot in (output, heads):
        place = signed_place(middle.layout, spot)
        tree = middle.material.output if place.under_output else middle.material.kept[0]
        old = tree.leaf(place.index).elements
        made = resigned(middle, spot, old[:-1] + bytes([old[-1] ^ 1]))
        found = finding(made, middle)
        assert found is not None
        assert found.fault is Fault.SIGNED
        assert found.spot.field.name == spot.field.name
    leaves = middle.posted.tree.leaves
    for changed, fault, index in (
        ([*leaves, replace(leaves[5], elements=b"")], Fault.TWICE, 5),
        ([*leaves[:7], *leaves[8:]], Fault.WITHHELD, 7),
        ([*leaves[:9], Leaf(bytes(32), 9 | ABORT_BIT, b"\0\1")], Fault.ELEMENT, 9 | ABORT_BIT),
    ):
        made = replace(middle, posted=PostedTrace(middle.layout, LeafTree(changed)))
        found = finding(made, middle)
        assert found is not None
        assert (found.fault, found.index) == (fault, index)


def test_shuffled_leaves_hide_nothing(bench: Bench, middle: Case, last: Case) -> None:
    """A liar may lay them in any order: each says its own index, and the proof takes them as they lie."""
    random = Random(8)
    for honest, names in ((middle, ("1.qkv.sums", "1.mixed", "1.mlp_norm.root")), (last, ("best", "kept", "order"))):
        for name in names:
            spot = honest.spot(name, 0, honest.layout.field(name).width - 1)
            leaves = [*honest.spoilt(spot).posted.tree.leaves]
            random.shuffle(leaves)
            made = replace(honest, posted=PostedTrace(honest.layout, LeafTree(leaves)))
            assert is_wrong(bench, made, spot), name
            found = finding(made, honest)
            assert found is not None
            assert found.spot == spot
