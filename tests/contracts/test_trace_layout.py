"""The contracts know where every field of a trace lies, as Python does."""

import re
from dataclasses import astuple, replace
from pathlib import Path
from random import Random

import pytest

from incentives.chain import Contract, Web3Chain
from sharding.exact.parameters import parameters_of
from sharding.rope import Rope
from sharding.span import Span
from sharding.spec import ModelSpec
from tests.contracts.world import dev, double
from tests.sharding.exact.random_span import FAMILY_NAMES, small_spec
from verification.trace.field_numbers import BEHIND, IN_BLOCK, number_of
from verification.trace.fields import Draw, Place
from verification.trace.layout import TraceLayout

SOURCE = Path(__file__).resolve().parents[2] / "contracts" / "src" / "lib" / "TraceLayout.sol"
LAYOUT_GAS = 7_300

Probe = tuple[Web3Chain, Contract]


@pytest.fixture(scope="session")
def probe(chain_url: str) -> Probe:
    """Deployed once on each kind of chain."""
    chain = Web3Chain(chain_url, expected_chain_id=31337)
    return chain, chain.deploy(dev(9), double("LayoutProbe")).contract


@pytest.fixture(scope="session")
def shape_probe(chain_url: str) -> Probe:
    """Deployed once on each kind of chain."""
    chain = Web3Chain(chain_url, expected_chain_id=31337)
    return chain, chain.deploy(dev(9), double("ShapeProbe")).contract


def drawn_spec(random: Random) -> ModelSpec:
    """Of any family; sizes on both sides of 128, of 128 pieces, and of its multiples."""
    kv = random.choice((1, 2, 3, 8))
    return small_spec(
        random.choice(FAMILY_NAMES), num_blocks=random.randint(1, 5), num_kv_heads=kv, num_heads=kv * random.randint(1, 4),
        hidden_size=random.choice((1, 52, 127, 128, 129, 4096, 16384, 16385, 65536)),
        head_dim=random.choice((2, 64, 126, 128, 130, 256, 1024)), intermediate_size=random.choice((1, 128, 129, 11008, 40000)),
        vocab_size=random.choice((1, 127, 128, 129, 32000, 151936)), max_positions=1 << 17, rope=Rope("default", 1e4),
        sliding_window=random.choice((None, 1, 5, 200)), tied_embeddings=random.random() < 0.5,
    )  # fmt: skip


def drawn_place(random: Random, spec: ModelSpec) -> Place:
    start = random.randrange(spec.num_blocks)
    span = Span(start, random.randint(start + 1, spec.num_blocks))
    draw = Draw(
        random.choice((0, 1, 65536)), random.choice((1, 65535, 65536)), random.choice((0, 1, 40, 128, 129, 10**6))
    )
    return Place(span, random.choice((0, 4, 126, 127, 128, 5000, 16384, (1 << 17) - 1)), random.choice((None, draw)))


def arguments(spec: ModelSpec, place: Place) -> tuple[tuple[int, ...], tuple[int | bool, ...]]:
    draw = place.draw or Draw()
    span = place.span.start, place.span.end
    return astuple(parameters_of(spec)), (
        *span,
        place.position,
        place.draw is not None,
        draw.tau,
        draw.pi,
        draw.top_k,
        draw.seed,
    )


def test_every_field_begins_where_python_says(probe: Probe, request: pytest.FixtureRequest) -> None:
    """Of random models, spans, positions and draws; the number of leaves too. Fewer of them on the slow chain."""
    chain, contract = probe
    random = Random(7)
    for _ in range(150 if request.node.callspec.params["chain_url"] == "anvil" else 15):
        spec = drawn_spec(random)
        place = drawn_place(random, spec)
        layout = TraceLayout(spec, place)
        places = [number_of(each.name) for each in layout.fields]
        found = chain.call(
            contract,
            "firsts",
            *arguments(spec, place),
            [block for block, _ in places],
            [number for _, number in places],
        )
        assert list(found) == [*(each.first for each in layout.fields), layout.leaves], (spec, place)


def test_every_field_is_as_large_as_python_says(shape_probe: Probe, request: pytest.FixtureRequest) -> None:
    """Rows, width and bytes; those that the trace does not have are of no size at all."""
    chain, contract = shape_probe
    random = Random(9)
    for _ in range(60 if request.node.callspec.params["chain_url"] == "anvil" else 6):
        spec = drawn_spec(random)
        drawn = drawn_place(random, spec)
        place = replace(drawn, draw=drawn.draw or Draw())  # whether it is asked for is not the shape's business
        layout = TraceLayout(spec, place)
        numbers = [number_of(each.name)[1] for each in layout.fields]
        found = chain.call(contract, "shapes", *arguments(spec, place), numbers)
        assert [tuple(each) for each in found] == [(each.rows, each.width, each.size) for each in layout.fields]
        inside = {"token": place.span.start == 0, "0.head_norm.root": spec.family == "qwen3"}
        draw = place.draw or Draw()
        is_nucleus = draw.tau > 0 and draw.pi < 1 << 16
        behind = {"order": draw.tau > 0, "shares": is_nucleus, "kept": is_nucleus, "perturbed": draw.tau > 0}
        for name, is_there in (inside | behind).items():
            ((rows, width, _),) = chain.call(contract, "shapes", *arguments(spec, place), [number_of(name)[1]])
            assert (rows * width > 0) is is_there, name


def test_the_contracts_enum_has_a_field_for_each_of_these_names() -> None:
    """In the same order; short names are joined of the same words."""
    (names,) = re.findall(r"enum Field \{([^}]*)\}", SOURCE.read_text())
    spelt = [name.strip() for name in names.split(",")]
    assert len(spelt) == 2 + len(IN_BLOCK) + len(BEHIND)
    for name, field in zip(("token", "row", *IN_BLOCK, *BEHIND), spelt, strict=True):
        assert field.lower().endswith(name.split(".")[-1].replace("_", "")) or field == "Reciprocals"


def test_finding_a_field_costs_little(probe: Probe) -> None:
    """Less than a tenth of what the proof of one wrong prefix costs; nearer the block's beginning it is less."""
    chain, contract = probe
    spec = replace(small_spec(), num_blocks=4, hidden_size=768, head_dim=64, num_heads=12, num_kv_heads=12)
    place = Place(Span(1, 3), 500)
    spent = [
        chain.call(contract, "gasOf", *arguments(spec, place), 2, number_of(f"2.{name}")[1])
        for name in ("qkv.sums", "down.sums")
    ]
    assert max(spent) <= LAYOUT_GAS
