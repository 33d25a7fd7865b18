"""The judge of products in Models says of a prefix of a product what Judge says, from the same proof."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from incentives.artifacts import load_artifact
from incentives.chain import Contract
from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.contracts.disputed import Case, case, registered, stored
from tests.contracts.judging import NODE, Bench, is_wrong
from tests.contracts.judging import refused as refused_by_judge
from tests.contracts.miscut import miscut
from tests.contracts.test_judge import MODELS
from tests.contracts.world import PEER, dev
from tests.verification.trace.traced import session
from verification.trace.field_numbers import number_of
from verification.trace.first_wrong import Fault, fault_of
from verification.trace.layout import Spot
from verification.trace.openings import Opening
from verification.trace.tree import Leaf

FIELDS = ("qkv.sums", "o.sums", "gate_up.sums", "down.sums")


def products(bench: Bench) -> Contract:
    world, judge, _ = bench
    return Contract(world.view(judge, "parts")[0], load_artifact("Models"))


def is_product_wrong(bench: Bench, made: Case, spot: Spot) -> bool:
    data = made.proof(spot).data
    return bool(bench[0].view(products(bench), "isProductWrong", made.traced, made.root, data))


def product_spots(made: Case) -> list[Spot]:
    """The first and the last of each matrix of each block."""
    found = []
    for block in made.span.blocks:
        for name in FIELDS:
            if made.layout.has(f"{block}.{name}"):
                field = made.layout.field(f"{block}.{name}")
                found += [Spot(field, 0, 0), Spot(field, field.rows - 1, field.width - 1)]
    return found


@pytest.mark.parametrize(("span", "draw", "sizes"), MODELS[:4])
def test_every_matrix_is_found_and_both_judges_agree(
    bench: Bench, span: Span, draw: SamplingParams | None, sizes: dict[str, Any]
) -> None:
    """In every family, block and stage: an honest prefix stands, one more or less is wrong, in its predecessor, too."""
    made = case(bench[0], bench[2], NODE, span, draw, **sizes)
    random = Random(5)
    for spot in product_spots(made):
        assert fault_of(spot, aborted=False) is Fault.PRODUCT
        assert not is_product_wrong(bench, made, spot)
        assert is_product_wrong(bench, made.spoilt(spot, -1), spot)
        x = made.layout.field(spot.field.sources[0])
        spoilt = made.spoilt(Spot(x, 0, random.randrange(128 * spot.column, min(x.width, 128 * spot.column + 128))))
        assert is_product_wrong(bench, spoilt, spot) is is_wrong(bench, spoilt, spot)


MIDDLE: dict[str, Any] = {"num_blocks": 3, "hidden_size": 150}


@pytest.fixture(scope="session")
def middle(bench: Bench) -> Case:
    """The second block of three."""
    return case(bench[0], bench[2], NODE, Span(1, 2), None, **MIDDLE)


def refused(bench: Bench, made: Case, data: bytes, root: bytes | None = None) -> str:
    call = products(bench), "isProductWrong", made.traced, made.root if root is None else root, data
    return bench[0].refusal(dev(9), *call)[0]


def test_a_leaf_of_another_length_is_wrong(bench: Bench, middle: Case) -> None:
    """A prefix or an activation more, or less, than the layout has."""
    spot = middle.spot("1.qkv.sums", 2, 1)
    sums, x = middle.layout.leaf_of("1.qkv.sums", 2, 1), middle.layout.leaf_of("1.attention_norm.x", 0, 128)
    good = middle.proof(spot).data
    for index, size in ((sums, 4), (x, 2)):
        old = middle.posted.tree.leaf(index).elements
        for elements in (old + bytes(size), old[:-size], old + b"\0"):
            made = middle.with_leaf(index, elements)
            data = packed(good, *made.posted.tree.open([x, sums]))
            assert refused(bench, made, good) == "LeavesNotHeld"
            assert bench[0].view(products(bench), "isProductWrong", made.traced, made.root, data)


def weights_begin(data: bytes) -> int:
    """Where a proof's pieces are counted."""
    start = 15
    for _ in range(data[14]):
        start += 2 + int.from_bytes(data[start : start + 2], "big")
    start += 1 + data[start]
    return start + 1 + 32 * data[start]


def packed(data: bytes, leaves: list[Leaf], opening: Opening) -> bytes:
    """The proof's head and weights, round other leaves."""
    own = b"".join(len(leaf.data).to_bytes(2, "big") + leaf.data for leaf in leaves)
    program = bytes([len(opening.program)]) + opening.program
    siblings = bytes([len(opening.siblings)]) + b"".join(opening.siblings)
    return data[:15] + own + program + siblings + data[weights_begin(data) :]


def test_what_is_no_product_of_the_span_is_refused(bench: Bench, middle: Case) -> None:
    """One past the last output or piece, the blocks on either side, another field, an Abort, a span past the model."""
    spot = middle.spot("1.qkv.sums")
    good = middle.proof(spot).data
    for at, value in ((2, 0), (2, 2), (6, spot.field.rows), (10, spot.field.width), (10, 128)):
        assert refused(bench, middle, good[:at] + value.to_bytes(4, "big") + good[at + 4 :]) == "ProductInvalid"
    other = number_of("1.qkv.y")[1]
    for data in (bytes([1]) + good[1:], good[:1] + bytes([other]) + good[2:]):
        assert refused(bench, middle, data) == "ProductInvalid"
    long = *middle.traced[:3], 4, middle.traced[4]
    call = products(bench), "isProductWrong", long, middle.root, good
    assert bench[0].refusal(dev(9), *call)[0] == "ProductInvalid"


def test_the_trace_of_a_model_that_nobody_registered_is_not_judged(bench: Bench, middle: Case) -> None:
    """Its numbers are not known."""
    unknown = PEER, *middle.traced[1:]
    call = products(bench), "isProductWrong", unknown, middle.root, middle.proof(middle.spot("1.qkv.sums")).data
    assert bench[0].refusal(dev(9), *call) == ("ModelUnknown", (PEER,))


def test_other_bytes_prove_nothing(bench: Bench, middle: Case) -> None:
    """Another bit anywhere, a byte less or more, another trace, no root, another row's weights."""
    spot = middle.spot("1.qkv.sums", 1)
    good = middle.proof(spot).data
    pieces = weights_begin(good)
    for data in (
        good[:-1],
        good + b"\0",
        b"",
        good[:14] + b"\1" + good[15:],
        good[:pieces] + b"\2" + good[pieces + 1 :],
    ):
        assert refused(bench, middle, data) == "ProofMalformed"
    assert refused(bench, middle, good, middle.spoilt(spot).root) == "LeavesNotHeld"
    assert refused(bench, middle, good, bytes(32)) == "LeavesNotHeld"
    assert refused(bench, middle, good[:6] + (2).to_bytes(4, "big") + good[10:]) == "LeavesNotHeld"
    random = Random(6)
    shape = weights_begin(good) + 1  # the tensor's shape follows from the model's numbers here
    for at in random.sample([k for k in range(17, len(good)) if not shape <= k < shape + 9], 60):
        data = good[:at] + bytes([good[at] ^ (1 << random.randrange(8))]) + good[at + 1 :]
        assert refused(bench, middle, data) in ("LeavesNotHeld", "ProofMalformed")


def test_both_leaves_are_those_of_the_product(bench: Bench, middle: Case) -> None:
    """Others of the same trace, honestly opened, say nothing about it: neither other activations nor another output's sums."""
    good = middle.proof(middle.spot("1.qkv.sums", 2, 1)).data
    sums, x = middle.layout.leaf_of("1.qkv.sums", 2, 1), middle.layout.leaf_of("1.attention_norm.x", 0, 128)
    other_sums, other_x = middle.layout.leaf_of("1.qkv.sums", 3, 1), middle.layout.leaf_of("1.attention_norm.x", 0, 0)
    tree = middle.posted.tree
    assert not bench[0].view(
        products(bench), "isProductWrong", middle.traced, middle.root, packed(good, *tree.open([x, sums]))
    )
    for indexes in ([other_x, sums], [x, other_sums]):
        assert refused(bench, middle, packed(good, *tree.open(indexes))) == "LeavesNotHeld"


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("more", [-22, -1, 1, 106])
def test_a_piece_of_another_length_in_a_manifests_weights_proves_nothing(
    bench: Bench, middle: Case, column: int, more: int
) -> None:
    """A manifest's author may put any bytes under its root: honest work would be proven wrong by them, or wrong work right."""
    made = session(3, **MIDDLE)
    spot, name = middle.spot("1.qkv.sums", 2, column), "blocks.1.qkv.weight"
    weights = miscut(made.model.spec, stored(made), name, 2 * 2 + column, more)
    model = replace(
        middle, manifest=registered(bench[2], made, weights), material=replace(middle.material, weights=weights)
    )
    for each in (model, model.spoilt(spot)):
        data = each.proof(spot).data
        assert refused(bench, each, data) == refused_by_judge(bench, each, data) == "LeavesNotHeld"
