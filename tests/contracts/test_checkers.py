"""The contracts' checkers of a trace against Python's: honest steps, and a liar's."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from incentives.chain import Contract, Web3Chain
from tests.contracts.trace_steps import Judged, honest_steps, lies
from tests.contracts.world import dev, double
from verification.trace.check import certified_operations, is_right
from verification.trace.operations import Operation

BATCH = 100
LIBRARIES = Path(__file__).resolve().parents[2] / "contracts" / "src" / "lib"


@pytest.fixture(scope="session")
def checkers(chain_url: str) -> tuple[Web3Chain, Contract]:
    """Deployed once on each kind of chain; it keeps no state."""
    chain = Web3Chain(chain_url, expected_chain_id=31337)
    return chain, chain.deploy(dev(9), double("CheckersProbe")).contract


@pytest.fixture(scope="session")
def steps() -> list[Judged]:
    """Of every operation."""
    found = honest_steps(Random(1), most=2)
    assert {each.step.operation for each in found} == set(Operation)
    return found


def judge(checkers: tuple[Web3Chain, Contract], cases: list[Judged]) -> list[bool]:
    chain, contract = checkers
    found = b""
    for first in range(0, len(cases), BATCH):
        batch = cases[first : first + BATCH]
        claims = [each.claim_words() for each in batch]
        found += chain.call(contract, "judge", [each.words() for each in batch], claims)
    return [byte == 1 for byte in found]


def test_every_honest_step_is_right(checkers: tuple[Web3Chain, Contract], steps: list[Judged]) -> None:
    """And one that claims another number is wrong."""
    assert all(judge(checkers, steps))
    cases = [replace(each, claimed=each.claimed + 1) for each in steps if isinstance(each.claimed, int)]
    found = judge(checkers, cases)
    assert {case.step.operation for case, right in zip(cases, found, strict=True) if right} <= {Operation.RANK}


def test_both_languages_judge_ten_thousand_random_steps_alike(
    checkers: tuple[Web3Chain, Contract], steps: list[Judged], request: pytest.FixtureRequest
) -> None:
    """Spoilt operands, false claims, false Aborts, numbers at the ends of 64 bits; a tenth of them on the slow chain."""
    count = 10_000 if request.node.callspec.params["chain_url"] == "anvil" else 1_000
    random = Random(2)
    by_operation = {each: [step for step in steps if step.step.operation is each] for each in Operation}
    cases = [lies(random.choice(by_operation[random.choice(list(Operation))]), random) for _ in range(count)]

    expected = [is_right(case.step, case.claimed) for case in cases]
    found = judge(checkers, cases)

    assert [case for case, one, other in zip(cases, found, expected, strict=True) if one != other] == []
    both = Counter((case.step.operation, right) for case, right in zip(cases, expected, strict=True))
    if count == 10_000:
        assert all(both[operation, right] > 5 for operation in Operation for right in (True, False))


def test_a_piece_has_one_to_128_whole_elements_of_a_size_that_leaves_have(checkers: tuple[Web3Chain, Contract]) -> None:
    """Anything else gives nothing, so that no claim of it is right."""
    chain, contract = checkers
    cases = [
        (bytes([1, 0]), 2, 1, True), (bytes([1, 0]) * 128, 2, 128, True), (bytes([1, 0]) * 129, 2, 129, False),
        (b"", 2, 0, False), (bytes(3), 2, 0, False), (bytes(3), 3, 0, False), (bytes(16), 16, 0, False),
        (bytes([1]), 1, 1, True), (bytes(8), 8, 0, True), (bytes(4), 4, 0, True), (bytes(2), 0, 0, False),
    ]  # fmt: skip
    steps = [(int(Operation.SUM), (0,), piece, b"", size) for piece, size, _, _ in cases]
    found = chain.call(contract, "judge", steps, [(1, claimed) for _, _, claimed, _ in cases])
    assert [byte == 1 for byte in found] == [right for _, _, _, right in cases]


def test_the_operations_have_the_same_numbers_in_both_languages() -> None:
    """Names too, but for their spelling."""
    text = (LIBRARIES / "Operations.sol").read_text()
    (names,) = re.findall(r"enum Operation \{([^}]*)\}", text)
    spelt = [re.sub(r"(?<!^)(?=[A-Z])", "_", name.strip()).upper() for name in names.split(",")]
    assert spelt == [operation.name for operation in Operation]


def test_no_operation_is_without_a_checker_in_the_contracts() -> None:
    """Each stands in exactly one of the three dispatches; the last line of each has the one that is left."""
    text = (LIBRARIES / "Checkers.sol").read_text()
    parts = {
        name: text[text.index(f"function {name}(") :].split("\n    }\n")[0]
        for name in ("certifies", "reduce", "element")
    }
    named = {name: re.findall(r"op == Operation\.(\w+)", part) for name, part in parts.items()}
    left = {"certifies": "Rank", "reduce": "Best", "element": "SampleScore"}
    every = [each for name, names in named.items() for each in (*names, left[name])]
    assert sorted(every) == sorted(_solidity(operation) for operation in Operation)
    assert {*named["certifies"], "Rank"} == {_solidity(operation) for operation in certified_operations()}


def _solidity(operation: Operation) -> str:
    return "".join(part.capitalize() for part in operation.name.split("_"))
