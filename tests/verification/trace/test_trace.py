"""A trace is what the engines compute, every element of it is judged right, and every other claim wrong."""

from typing import Any

import numpy as np
import pytest
import torch

from sharding.exact.sampler import sample_exact
from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.verification.trace.traced import GREEDY, POSITIONS, Session, claim, operands_at, session, spots
from verification.trace.check import checked_operations
from verification.trace.fields import Draw, Place, fields_of
from verification.trace.layout import TraceLayout
from verification.trace.operands import template_of
from verification.trace.operations import PIECE, Abort, Operation
from verification.trace.resolve import Operands

WHOLE, FIRST, LAST = Span(0, 2), Span(0, 1), Span(1, 2)
SEEDED = SamplingParams(temperature=0.8, top_k=0, top_p=1.0, seed=11)
CUT = SamplingParams(temperature=1.5, top_k=140, top_p=0.9, seed=12)
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 150, "vocab_size": 300},
    "mistral": {"sliding_window": 5},
    "qwen2": {"head_dim": 132, "tied_embeddings": True},
    "qwen3": {"num_kv_heads": 1, "intermediate_size": 260},
}


@pytest.fixture(scope="module", params=SHAPES)
def made(request: pytest.FixtureRequest) -> Session:
    """A session of each family: rows, heads, vocabulary or feed-forward of more than one piece, windows, biases, ties."""
    return session(5, family=request.param, **SHAPES[request.param])


def in_integers(params: SamplingParams) -> Draw:
    return Draw(max(1, round(params.temperature * 65536)), round(params.top_p * 65536), params.top_k, params.seed)


def check_all(operands: Operands) -> None:
    wrong = [spot for spot in spots(operands.trace) if not operands.judge(spot, claim(operands, spot))]
    assert wrong == []


@pytest.mark.parametrize("span", [WHOLE, FIRST, LAST], ids=str)
def test_every_element_of_an_honest_trace_is_right_and_its_last_row_is_the_engines(made: Session, span: Span) -> None:
    """On a first stage, a last one, and one that is both; at the first position and at the last."""
    for position in (0, POSITIONS - 1):
        operands = operands_at(made, span, position, GREEDY if span.end == 2 else None)

        check_all(operands)
        row = operands.trace.values[f"{span.end - 1}.output"][0]
        assert np.array_equal(row, made.rows[span.end, position])
        if span.end == 2:
            assert np.array_equal(operands.trace.values["head.y"][0], made.logits[position])
            assert operands.trace.output.tolist() == [[made.logits[position].argmax()]]


@pytest.mark.parametrize("params", [SEEDED, CUT], ids=["all", "cut"])
def test_a_seeded_token_is_the_samplers(made: Session, params: SamplingParams) -> None:
    """With and without top-k and top-p."""
    for position in (0, 3, POSITIONS - 1):
        operands = operands_at(made, LAST, position, in_integers(params))
        logits = torch.from_numpy(made.logits[position].astype(np.int32))

        check_all(operands)
        assert operands.trace.output.tolist() == [[sample_exact(logits, params, position + 1)]]


def test_more_positions_than_a_piece_holds(made: Session) -> None:
    """Scores, weights and sums over positions have several prefixes then."""
    long = session(6, PIECE + 7, made.model.spec.family, max_positions=PIECE + 7, num_blocks=1)
    operands = operands_at(long, Span(0, 1), PIECE + 6, GREEDY)

    check_all(operands)
    assert np.array_equal(operands.trace.values["0.output"][0], long.rows[1, -1])


def test_a_position_whose_token_nobody_asks_for_ends_with_its_keys_and_values(made: Session) -> None:
    """In the model's last block only: the cache holds what the trace ends with."""
    operands = operands_at(made, LAST, 4)
    kv = made.model.spec.num_kv_heads

    check_all(operands)
    assert operands.trace.layout.output.name == "1.heads"
    kept = torch.cat((made.cache.keys[1, :, 4], made.cache.values[1, :, 4])).numpy()
    assert np.array_equal(operands.trace.output[-2 * kv :], kept)


def test_every_other_claim_is_wrong(made: Session) -> None:
    """One more, one less, the negative, an Abort, one far away: for a sample of all elements."""
    operands = operands_at(made, WHOLE, POSITIONS - 1, in_integers(CUT))
    random = np.random.Generator(np.random.PCG64(1))
    everything = [spot for spot in spots(operands.trace) if spot.field.operation is not Operation.RANK]
    for k in random.choice(len(everything), 2500, replace=False):
        spot, honest = everything[k], claim(operands, everything[k])
        assert isinstance(honest, int)
        for lie in (honest + 1, honest - 1, -honest or 5, honest ^ (1 << 40), *Abort):
            assert not operands.judge(spot, lie), (spot, lie)


def test_no_other_order_of_the_candidates_passes(made: Session) -> None:
    """A place is judged with the one before it: an id too many, twice, or in the wrong place shows somewhere."""
    operands = operands_at(made, WHOLE, POSITIONS - 1, in_integers(CUT))
    order, random = operands.trace.values["order"], np.random.Generator(np.random.PCG64(2))
    places, honest = [spot for spot in spots(operands.trace) if spot.field.name == "order"], order.copy()
    for _ in range(50):
        one, other = random.choice(order.shape[1], 2, replace=False)
        for lie in (honest[0, other], -1, order.shape[1]):
            order[0] = honest[0]
            order[0, one] = lie
            assert not all(operands.judge(spot, claim(operands, spot)) for spot in places)


def test_no_operation_is_without_a_checker_and_none_without_a_use() -> None:
    """The layouts of all families and all ways of choosing a token together."""
    used = set()
    for family, sizes in SHAPES.items():
        made = session(5, family=family, **sizes)
        operands = operands_at(made, WHOLE, 1, in_integers(CUT))
        used |= {template_of(operands.trace.layout, spot).operation for spot in spots(operands.trace)}
    assert used == set(Operation) == checked_operations()


def test_a_leafs_index_and_its_place_lead_to_each_other(made: Session) -> None:
    """For every leaf of a trace; outside there is none."""
    layout = TraceLayout(made.model.spec, Place(WHOLE, POSITIONS - 1, in_integers(SEEDED)))
    for leaf in range(layout.leaves):
        spot = layout.spot(leaf)
        assert layout.leaf_of(spot.field.name, spot.row, spot.column) == leaf
    for leaf, element in ((-1, 0), (layout.leaves, 0), (0, 1)):
        with pytest.raises(IndexError):
            layout.spot(leaf, element)


def test_a_layout_depends_on_nothing_that_was_computed(made: Session) -> None:
    """The same model, span and position: the same fields, for every session."""
    place = Place(WHOLE, 3, GREEDY)
    other = session(99, family=made.model.spec.family, **SHAPES[made.model.spec.family])
    assert fields_of(made.model.spec, place) == fields_of(other.model.spec, place)
