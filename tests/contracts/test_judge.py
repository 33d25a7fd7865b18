"""Judge: honest traces stand, and every spoilt element of every field is wrong, as Python says."""

import struct
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from sharding.hashing import keccak256
from sharding.merkle import merkle_leaf
from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.contracts.disputed import POSITION, Case, case
from tests.contracts.judging import EARLIER, NODE, Bench, is_wrong, refused
from tests.contracts.world import dev
from verification.trace.build import Trace
from verification.trace.field_numbers import number_of
from verification.trace.layout import Ref, Source, Spot
from verification.trace.operands import template_of
from verification.trace.operations import Operation

MANY = 8
CUT = SamplingParams(temperature=1.5, top_k=140, top_p=0.9, seed=12)
MODELS: tuple[tuple[Span, SamplingParams | None, dict[str, Any]], ...] = (
    (Span(0, 2), CUT, {"hidden_size": 150, "vocab_size": 300}),
    (Span(0, 1), None, {"family": "qwen2", "sliding_window": 3, "num_kv_heads": 1}),
    (Span(1, 2), None, {"family": "qwen3", "num_blocks": 3, "intermediate_size": 300, "head_dim": 132}),
    (Span(1, 2), SamplingParams(), {"family": "qwen3", "tied_embeddings": True}),
    (Span(1, 2), SamplingParams(temperature=0.7, seed=3), {"vocab_size": 130}),
    (Span(1, 2), None, {}),
)


def drawn_spots(random: Random, made: Case, count: int) -> list[Spot]:
    def place(size: int) -> int:
        return random.choice((0, size - 1, random.randrange(size)))

    return [
        Spot(each, place(each.rows), place(each.width))
        for each in made.layout.fields
        if each.name in made.operands.trace.values
        for _ in range(count)
    ]


@pytest.mark.parametrize(("span", "draw", "sizes"), MODELS)
def test_no_honest_element_is_wrong(
    bench: Bench, span: Span, draw: SamplingParams | None, sizes: dict[str, Any]
) -> None:
    made = case(bench[0], bench[2], NODE, span, draw, **sizes)
    for spot in drawn_spots(Random(1), made, 2):
        assert not is_wrong(bench, made, spot), spot


def lied(made: Case, spot: Spot, number: int) -> Case:
    """The element is that number, in the leaves and in what Python judges."""
    values = dict(made.operands.trace.values)
    changed = values[spot.field.name].copy()
    by = number - int(changed[spot.row, spot.column])
    changed[spot.row, spot.column] = number
    values[spot.field.name] = changed
    trace = Trace(made.operands.trace.layout, values, made.operands.trace.aborted)
    return replace(made.spoilt(spot, by), operands=replace(made.operands, trace=trace))


def is_right(made: Case, spot: Spot) -> bool:
    return made.operands.judge(spot, made.operands.trace.claim(spot.field.name, spot.row, spot.column))


def numbers_near(random: Random, made: Case, spot: Spot) -> int:
    honest = int(made.operands.trace.values[spot.field.name][spot.row, spot.column])
    limit = 1 << (8 * spot.field.size - 1)
    drawn = random.choice((honest + 1, honest - 1, 0, -1, limit - 1, -limit, random.randrange(-limit, limit)))
    return max(-limit, min(limit - 1, drawn))


def operand_spots(made: Case, spot: Spot) -> list[Spot]:
    """Elements of the trace that the element is judged by, one of each operand."""
    template = template_of(made.layout, spot)
    found = []
    for each in (*template.scalars, template.left, template.right):
        while isinstance(each, Ref):
            if each.source is Source.TRACE and isinstance(each.start, int) and isinstance(each.row, int):
                found.append(Spot(made.layout.field(each.name), each.row, each.start + each.count - 1))
            each = each.start if isinstance(each.start, Ref) else each.row
    return found


@pytest.mark.parametrize(("span", "draw", "sizes"), MODELS)
def test_a_spoilt_element_is_wrong_where_python_says_so(
    bench: Bench, request: pytest.FixtureRequest, span: Span, draw: SamplingParams | None, sizes: dict[str, Any]
) -> None:
    """The element itself, or one that it is judged by: other numbers, at the ends of their size too. Fewer on the slow chain."""
    made = case(bench[0], bench[2], NODE, span, draw, **sizes)
    random = Random(2)
    seen = set()
    for spot in drawn_spots(random, made, MANY if request.node.callspec.params["chain_url"] == "anvil" else 1):
        changed = spot if random.random() < 0.6 else random.choice([spot, *operand_spots(made, spot)])
        other = lied(made, changed, numbers_near(random, made, changed))
        expected = not is_right(other, spot)
        assert is_wrong(bench, other, spot) is expected, (spot, changed)
        seen.add(expected)
    assert True in seen


def test_every_operation_is_judged(bench: Bench) -> None:
    """Each of the thirty-six by one element at least: the honest one stands, another number does not."""
    left = set(Operation)
    for span, draw, sizes in MODELS[:3]:
        made = case(bench[0], bench[2], NODE, span, draw, **sizes)
        for spot in drawn_spots(Random(3), made, 3):
            operation = template_of(made.layout, spot).operation
            if operation in left:
                other = lied(made, spot, int(made.operands.trace.values[spot.field.name][spot.row, spot.column]) ^ 1)
                if not is_right(other, spot):
                    assert not is_wrong(bench, made, spot)
                    assert is_wrong(bench, other, spot)
                    left.discard(operation)
    assert left == set()


@pytest.fixture(scope="session")
def middle(bench: Bench) -> Case:
    """The second block of three; qwen3."""
    return case(bench[0], bench[2], NODE, Span(1, 2), None, family="qwen3", num_blocks=3, hidden_size=150)


@pytest.fixture(scope="session")
def drawing(bench: Bench) -> Case:
    """A whole model whose token is drawn among a few."""
    return case(bench[0], bench[2], NODE, Span(0, 2), CUT, vocab_size=300)


def test_a_leaf_of_another_length_is_wrong(bench: Bench, middle: Case) -> None:
    """The element's own leaf, or an operand's: an element more or less, or a byte."""
    spot = middle.spot("1.qkv.sums", 2, 1)
    for index, size in (
        (middle.layout.leaf_of("1.qkv.sums", 2, 1), 4),
        (middle.layout.leaf_of("1.attention_norm.x", 0, 128), 2),
    ):
        old = middle.posted.tree.leaf(index).elements
        for elements in (old + bytes(size), old[:-size], old + b"\0", b""):
            assert is_wrong(bench, middle.with_leaf(index, elements), spot)


def test_look_ups_that_leave_their_table_are_wrong(bench: Bench, drawing: Case) -> None:
    """A token that the vocabulary does not have, an id that is no place of the logits, a cell of no Gumbel table."""
    for name, by, numbers in (
        ("row", "token", (-1, 300, 2**31 - 1)),
        ("perturbed", "order", (-1, 300)),
        ("perturbed", "cells", (-1, 16_384)),
        ("chosen", "best", (-1, 300)),
    ):
        for number in numbers:
            place = drawing.layout.field(by).width - 1 if by == "best" else 0
            made = lied(drawing, drawing.spot(by, 0, place), number)
            assert is_wrong(bench, made, made.spot(name)), (name, number)


def test_a_place_that_the_trace_does_not_have_proves_nothing(bench: Bench, middle: Case, drawing: Case) -> None:
    """One past the last row or column, the span on either side, a field that the model or the span has not."""
    spot = middle.spot("1.qkv.sums")
    good = middle.proof(spot).data
    for at, value in ((2, 0), (2, 2), (6, spot.field.rows), (10, spot.field.width)):
        assert refused(bench, middle, good[:at] + value.to_bytes(4, "big") + good[at + 4 :]) == "PlaceInvalid"
    token, last, order = (number_of(name)[1] for name in ("token", "head.y", "order"))
    for field in (token, last, order):
        assert refused(bench, middle, good[:1] + bytes([field]) + good[2:]) == "PlaceInvalid"
    good = drawing.proof(drawing.spot("head.y")).data
    norms = number_of("0.head_norm.y")[1]
    for field in (norms, order):  # the family has no norms of heads; the draw has not been opened
        assert refused(bench, drawing, good[:1] + bytes([field]) + good[2:]) == "PlaceInvalid"
    world, judge, _ = bench
    words = *drawing.traced[:3], 3, drawing.traced[4]
    call = judge, "isElementWrong", words, drawing.root, EARLIER, good
    assert world.refusal(dev(9), *call)[0] == "PlaceInvalid"


def test_a_proof_says_all_it_says_and_no_more(bench: Bench, middle: Case) -> None:
    """A byte less, a byte more, an unknown field."""
    good = middle.proof(middle.spot("1.qkv.y")).data
    for data in (good[:-1], good + b"\0", b"", good[:1] + b"\xff" + good[2:]):
        assert refused(bench, middle, data) == "ProofMalformed"


def test_leaves_under_other_roots_prove_nothing(bench: Bench, middle: Case) -> None:
    """Another trace, another bit anywhere in leaves, program, siblings and pieces; no root at all."""
    spot = middle.spot("1.qkv.y", 1, 1)
    good = middle.proof(spot).data
    assert refused(bench, middle, good, root=bytes(32)) == "LeavesNotHeld"
    assert refused(bench, middle, good, root=middle.spoilt(spot).root) == "LeavesNotHeld"
    random = Random(4)
    for at in random.sample(range(17, len(good)), 60):
        data = good[:at] + bytes([good[at] ^ (1 << random.randrange(8))]) + good[at + 1 :]
        assert refused(bench, middle, data) in ("LeavesNotHeld", "ProofMalformed")


def test_operands_of_another_leaf_prove_nothing(bench: Bench, middle: Case) -> None:
    """A proof of one element with another's place: its leaves, pieces and paths are right, and the wrong ones."""
    good = middle.proof(middle.spot("1.qkv.y", 1, 1)).data
    other = middle.proof(middle.spot("1.qkv.y", 5, 1)).data
    assert refused(bench, middle, good[:6] + other[6:10] + good[10:]) == "LeavesNotHeld"


def test_too_long_a_path_proves_nothing(bench: Bench, middle: Case) -> None:
    """65 siblings climb nowhere, whatever they hash to."""
    leaf = middle.posted.tree.leaf(middle.layout.leaf_of("1.attention_norm.root", 0, 1))
    node = merkle_leaf(leaf.data)
    siblings = [keccak256(bytes([k])) for k in range(65)]
    for sibling in siblings:
        node = keccak256(min(node, sibling) + max(node, sibling))
    spot = middle.spot("1.attention_norm.root", 0, 1)  # its operand is a constant
    block, field = number_of(spot.field.name)
    head = struct.pack(">BBIIIB", 0, field, block, 0, 1, 1) + struct.pack(">H", len(leaf.data)) + leaf.data
    data = head + bytes([2, 0, 65, 65]) + b"".join(siblings) + b"\0"
    assert refused(bench, middle, data, root=node) == "LeavesNotHeld"


def test_an_inner_node_is_no_leaf(bench: Bench, middle: Case) -> None:
    """Its 64 bytes do not pass for one."""
    hashes = [merkle_leaf(leaf.data) for leaf in middle.posted.tree.leaves[:2]]
    pair = min(hashes) + max(hashes)
    block, field = number_of("1.attention_norm.root")
    head = struct.pack(">BBIIIB", 0, field, block, 0, 1, 1) + struct.pack(">H", 64) + pair
    siblings = middle.posted.tree.path(0)[1:]
    data = head + bytes([2, 0, len(siblings), len(siblings)]) + b"".join(siblings) + b"\0"
    assert refused(bench, middle, data) == "LeavesNotHeld"


def test_the_input_and_the_kept_are_those_that_were_signed(bench: Bench, middle: Case) -> None:
    """Row and keys are copies; opened roots have to be the dispute's, earlier keys lie under the earlier receipt's root."""
    kept = middle.spot("1.keys", 1, 2)  # position 1, of the chunk before
    proof = middle.proof(kept)
    assert proof.receipt == 1
    assert refused(bench, middle, proof.data) == "LeavesNotHeld"
    assert not is_wrong(bench, middle, kept)
    assert is_wrong(bench, middle.spoilt(kept), kept)
    row = middle.proof(middle.spot("row", 0, 130)).data
    assert refused(bench, middle, row[:-1] + bytes([row[-1] ^ 1])) == "LeavesNotHeld"
    world, judge, _ = bench
    other = *middle.traced[:4], POSITION + 1
    call = judge, "isElementWrong", other, middle.root, EARLIER, row
    assert world.refusal(dev(9), *call)[0] == "LeavesNotHeld"


def test_how_a_token_is_drawn_is_the_routes(bench: Bench, drawing: Case) -> None:
    """Another temperature, top-k, top-p or seed than the route's sampler commits to."""
    good = drawing.proof(drawing.spot("shares", 0, 1)).data
    start = len(good) - 168
    for at in (0, 8, 12, 20, 28, 32, 39):
        data = good[: start + at] + bytes([good[start + at] ^ 1]) + good[start + at + 1 :]
        assert refused(bench, drawing, data) == "LeavesNotHeld"
