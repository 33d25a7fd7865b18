"""The contracts' arithmetic of the exact profile against the golden vectors, step by step, on both kinds of chain."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from incentives.chain import Contract, Web3Chain
from incentives.errors import Reverted
from tests.contracts.exact_rows import MAKERS, Step, steps_of, words
from tests.contracts.world import dev, double

BATCH = 400
"""Steps in one call: well below the gas that either chain gives to a question."""
DOT_WEIGHTS_GAS, DOT_HEADS_GAS = 4_000, 3_700
LIBRARIES = Path(__file__).resolve().parents[2] / "contracts" / "src" / "lib"


@dataclass(frozen=True, slots=True)
class Probe:
    """The deployed wrapper around the libraries."""

    chain: Web3Chain
    contract: Contract

    def evaluate(self, operation: str, rows: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
        """Two results for each row, the second of them 0 where the operation has one."""
        numbers = [number for row in rows for number in row]
        data = b"".join(map(_word, (32, len(numbers), *numbers)))
        results = self.chain.call(self.contract, "evaluate", operation, len(rows[0]), data)
        found = [int.from_bytes(results[k : k + 32], "big", signed=True) for k in range(0, len(results), 32)]
        return list(zip(found[::2], found[1::2], strict=True))

    def refusal(self, operation: str, *arguments: int) -> tuple[str, tuple[Any, ...]]:
        with pytest.raises(Reverted) as caught:
            self.evaluate(operation, [arguments])
        return caught.value.name, caught.value.arguments


def _word(number: int) -> bytes:
    return (number % 2**256).to_bytes(32, "big")


@pytest.fixture(scope="session")
def probe(chain_url: str) -> Probe:
    """Deployed once on each kind of chain; it keeps no state."""
    chain = Web3Chain(chain_url, expected_chain_id=31337)
    return Probe(
        chain, chain.deploy(dev(9), double("ExactProbe")).contract
    )  # the suite's deployer counts its own transactions


def _kind(step: Step) -> str:
    return step.operation


@pytest.mark.parametrize("name", MAKERS)
def test_every_step_of_every_vector_is_what_the_contract_computes(probe: Probe, name: str) -> None:
    """Results where there are some, and else the revert with the number that is past its limit."""
    steps = sorted(steps_of(name), key=_kind)
    for operation, group in groupby([step for step in steps if not step.error], _kind):
        rows = list(group)
        for first in range(0, len(rows), BATCH):
            piece = rows[first : first + BATCH]
            found = probe.evaluate(operation, [step.arguments for step in piece])
            assert found == [(*step.results, 0)[:2] for step in piece]
    for step in steps:
        if step.error:
            assert probe.refusal(step.operation, *step.arguments) == (step.error, step.results)


def test_no_function_of_the_libraries_is_without_a_vector() -> None:
    """A formula that nothing compares with the specification is worth nothing before a court."""
    sources = [(LIBRARIES / f"{name}.sol").read_text() for name in ("ExactMath", "ExactDot")]
    offered = {name for text in sources for name in re.findall(r"function (\w+)\([^)]*\)\s+internal", text)}
    compared = {step.operation for name in MAKERS for step in steps_of(name)}
    assert offered == compared


@pytest.mark.parametrize(("operation", "arguments", "error", "numbers"), [
    ("rsh", (1, 255), "ScaleOutOfRange", (255,)),
    ("rsh", (1, -1), "ScaleOutOfRange", (-1,)),
    ("halves", (32640,), "IntegerOverflow", (32640, 32639)),
    ("halves", (-32640,), "IntegerOverflow", (-32640, 32639)),
    ("packElement", (65279, 1), "IntegerOverflow", (32640, 32639)),
    ("packElement", (-65281, 1), "IntegerOverflow", (-32640, 32639)),
    ("int32Of", (2**31,), "IntegerOverflow", (2**31, 2**31 - 1)),
    ("int32Of", (-(2**31),), "IntegerOverflow", (-(2**31), 2**31 - 1)),
    ("compressExponent", (2**255 - 1,), "IntegerOverflow", (2**255 - 1, 2**28 - 1)),
    ("normShift", (2**62,), "Panic", (0x11,)),
    ("score", (1, 1, 20, 17), "Panic", (0x11,)),
    ("loweredWeight", (1, 2, 3), "Panic", (0x11,)),
    ("nucleusWeight", (1, 0, 0), "Panic", (0x12,)),
    ("logarithm", (1,), "OperationUnknown", ("logarithm", 1)),
    ("rsh", (1, 1, 1), "OperationUnknown", ("rsh", 3)),
])  # fmt: skip
def test_numbers_outside_the_specification_revert(
    probe: Probe, operation: str, arguments: tuple[int, ...], error: str, numbers: tuple[Any, ...]
) -> None:
    """By name where a limit is passed, by the compiler's panic where no formula is meant."""
    assert probe.refusal(operation, *arguments) == (error, numbers)


def test_the_last_numbers_inside_the_limits_pass(probe: Probe) -> None:
    """The neighbours of those that revert."""
    assert probe.evaluate("rsh", [(1, 254), (-(2**253), 254), (2**253, 254)]) == [(0, 0), (0, 0), (1, 0)]
    assert probe.evaluate("halves", [(32639,), (-32639,), (128,), (-128,), (-129,)]) == [
        (127, 127), (-127, -127), (1, -128), (0, -128), (-1, 127),
    ]  # fmt: skip
    assert probe.evaluate("packElement", [(65278, 1), (-65279, 1)]) == [(32639, 0), (-32639, 0)]
    assert probe.evaluate("int32Of", [(2**31 - 1,), (1 - 2**31,)]) == [(2**31 - 1, 0), (1 - 2**31, 0)]
    assert probe.evaluate("normShift", [(2**62 - 1,), (1,)]) == [(0, 0), (30, 0)]
    assert probe.evaluate("bits", [(0,), (1,), (2**255 - 1,), (-1,)]) == [(0, 0), (1, 0), (255, 0), (256, 0)]


def test_a_certificate_of_a_liar_is_false_and_never_a_revert(probe: Probe) -> None:
    """Roots whose squares would not fit, a division by zero, a width root that belongs to another width."""
    honest = 2**60, 16, 2**24, 2**30, 2**24
    rows = [
        honest,
        (2**60, 15, *honest[2:]),
        (2**60, 16, 2**24 - 1, *honest[3:]),
        (0, *honest[1:]),
        (*honest[:3], 0, 0),
    ]
    assert [truth for truth, _ in probe.evaluate("isNorm", rows)] == [1, 0, 0, 0, 0]
    assert probe.evaluate("isRoot", [(0, 0), (0, 1), (4, 2**127), (4, -1), (2**254 - 1, 2**127 - 1)]) == [
        (1, 0), (0, 0), (0, 0), (0, 0), (1, 0),
    ]  # fmt: skip
    assert probe.evaluate("isQuotient", [(0, 0, 0), (7, 2, 3), (7, 2, 4)]) == [(0, 0), (1, 0), (0, 0)]
    assert probe.evaluate("isReciprocal", [(0, 0), (1, 2**17), (1, 2**17 + 1)]) == [(0, 0), (1, 0), (0, 0)]


def test_128_products_cost_little(probe: Probe) -> None:
    """Gas of the library's code alone; a change that makes it dearer is noticed, and one that makes it cheaper too."""
    pieces = words([-127, 127] * 64, 1), words([32639, -32639] * 64, 2)
    weights, x = ([word % 2**256 for word in piece] for piece in pieces)
    of_weights, of_heads, total = probe.chain.call(probe.contract, "gasOfDots", weights, x, x)
    assert total == -128 * 127 * 32639 + 128 * 32639**2
    for spent, budget in ((of_weights, DOT_WEIGHTS_GAS), (of_heads, DOT_HEADS_GAS)):
        assert 0.95 * budget <= spent <= budget
