"""The contracts give each element of a trace the operation and the operands that Python gives it."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from incentives.chain import Contract, Web3Chain
from sharding.exact.weight_pieces import KINDS, SHARED
from tests.contracts.test_trace_layout import arguments, drawn_place, drawn_spec
from tests.contracts.world import dev, double
from verification.trace.field_numbers import BEHIND, IN_BLOCK, number_of
from verification.trace.layout import Number, Ref, Source, Spot, TraceLayout
from verification.trace.operands import template_of
from verification.trace.operations import Operation

SOURCES = {Source.TRACE: 1, Source.WEIGHTS: 2, Source.INPUT: 3, Source.KEPT: 4, Source.NOISE: 5}
Probe = tuple[Web3Chain, Contract]
Words = tuple[int, int, int, int, int, int, int, int]


@pytest.fixture(scope="session")
def probe(chain_url: str) -> Probe:
    """Deployed once on each kind of chain."""
    chain = Web3Chain(chain_url, expected_chain_id=31337)
    return chain, chain.deploy(dev(9), double("RulesProbe")).contract


def words_of(number: Number, behind: int) -> Words:
    """An operand as the contracts spell it; behind: the block that stands for the fields behind all blocks."""
    if isinstance(number, int):
        return 0, 0, 0, 0, number, 1, 0, 0
    row, start = (each if isinstance(each, int) else 0 for each in (number.row, number.start))
    by, column = next((_looked_up(each) for each in (number.row, number.start) if isinstance(each, Ref)), (0, 0))
    return SOURCES[number.source], *_name(number, behind), row, start, number.count, by, column


def _looked_up(ref: Ref) -> tuple[int, int]:
    """The field, counted from 1, and the column whose element is a row or a start."""
    assert (ref.source, ref.row) == (Source.TRACE, 0)
    assert isinstance(ref.start, int)
    return number_of(ref.name)[1] + 1, ref.start


def _name(ref: Ref, behind: int) -> tuple[int, int]:
    """Number and block of a field, or kind and block of a tensor."""
    if ref.source is Source.NOISE:
        return 0, 0
    if ref.source is Source.WEIGHTS:
        first, _, rest = ref.name.partition(".")
        if first != "blocks":
            return KINDS.index(ref.name), SHARED
        block, _, kind = rest.partition(".")
        return KINDS.index(kind), int(block)
    block, number = placed(ref.name, behind)
    return number, block


def placed(name: str, behind: int) -> tuple[int, int]:
    block, number = number_of(name)
    return (behind if number >= 2 + len(IN_BLOCK) else block), number


def expected(layout: TraceLayout, spot: Spot) -> tuple[Operation, list[Words]]:
    template = template_of(layout, spot)
    pieces = [each for each in (template.left, template.right) if each is not None]
    return template.operation, [words_of(each, layout.place.span.end) for each in (*template.scalars, *pieces)]


def drawn_spots(random: Random, layout: TraceLayout) -> list[Spot]:
    """Two of every field: first, last or any row, first, last or any column."""

    def place(size: int) -> int:
        return random.choice((0, size - 1, random.randrange(size)))

    return [Spot(each, place(each.rows), place(each.width)) for each in layout.fields for _ in (1, 2)]


def asked(spot: Spot, layout: TraceLayout) -> tuple[int, int, int, int]:
    return *placed(spot.field.name, layout.place.span.end), spot.row, spot.column


def test_every_element_has_the_operands_that_python_says(probe: Probe, request: pytest.FixtureRequest) -> None:
    """Of random models, spans, positions and draws; fewer of them on the slow chain."""
    chain, contract = probe
    random, seen = Random(8), Counter[int]()
    is_fast = request.node.callspec.params["chain_url"] == "anvil"
    for _ in range(60 if is_fast else 6):
        spec = drawn_spec(random)
        place = drawn_place(random, spec)
        layout = TraceLayout(spec, place)
        spots = drawn_spots(random, layout)
        operations, operands = chain.call(
            contract, "rules", *arguments(spec, place), [asked(spot, layout) for spot in spots]
        )
        for spot, operation, found in zip(spots, operations, operands, strict=True):
            assert (operation, [_plain(each) for each in found]) == expected(layout, spot), (spec, place, spot)
            seen[number_of(spot.field.name)[1]] += 1
    assert len(seen) == 2 + len(IN_BLOCK) + len(BEHIND) or not is_fast


def _plain(words: Any) -> Words:
    source, name, block, row, start, count, by, column = words
    return source, name, block, row, start, count, by, column
