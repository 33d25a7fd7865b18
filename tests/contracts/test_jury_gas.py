"""What each act before the jury may cost: whole transactions, steady where a record can exist already."""

from tests.conftest import ask
from tests.contracts.jury_world import CONTENT, CONVINCED, NODE, STRANGER, TERMS, Trial, trial

SEATS = 5
BUDGET = {
    "accuse, first": 122_000,
    "accuse, again": 122_000,
    "answer": 39_500,
    "draw": 84_500,
    "commit": 84_000,
    "reveal": 36_200,
    "convict": 192_000,
    "acquit": 90_000,
    "collect": 36_500,
    "appeal": 70_000,
}


def test_judging_stays_within_its_budget(played: Trial) -> None:
    """A case that convicts, then one of the same parties that acquits, and its appeal."""
    spent = {"accuse, first": played.accuse().gas_used, "answer": played.on.jury.answer(NODE, played.case).gas_used}
    spent["draw"] = drawn(played)
    spent["commit"] = max(played.commit(seat, CONVINCED).gas_used for seat in range(SEATS))
    played.at(played.since + TERMS.commit_s + 1)
    spent["reveal"] = max(played.reveal(seat).gas_used for seat in range(SEATS))
    spent["convict"] = played.close_later().gas_used
    spent["collect"] = max(played.on.jury.collect(STRANGER, played.case, seat).gas_used for seat in range(SEATS))
    other = trial(played.on, nonce=bytes([5]) * 32)
    spent["accuse, again"] = other.accuse().gas_used
    other.answer()
    drawn(other)
    other.voted([CONTENT] * SEATS)
    before = ask(other.world.url, "evm_snapshot")
    spent["appeal"] = other.on.jury.appeal(other.accuser, other.case).gas_used
    ask(other.world.url, "evm_revert", before)
    spent["acquit"] = other.close_later().gas_used
    over = {name: (gas, BUDGET[name]) for name, gas in spent.items() if gas > BUDGET[name]}
    assert not over, f"over budget (spent, allowed): {over}"
    slack = {name: (gas, BUDGET[name]) for name, gas in spent.items() if gas < 0.95 * BUDGET[name]}
    assert not slack, f"budgets that would hide a change (spent, allowed): {slack}"


def drawn(case: Trial) -> int:
    """What the draw took."""
    for _ in range(TERMS.lag_blocks):
        ask(case.world.url, "evm_mine")
    words = case.case.words, case.on.posting.words
    sent = case.world.send(STRANGER, case.on.contract, "draw", *words)
    case.lot = case.lot_of(sent)
    return sent.gas_used


def test_the_jury_fits_a_chain(played: Trial) -> None:
    """Below the 24,576 bytes that one accepts."""
    assert 0 < len(played.world.chain.code(played.on.contract.address)) < 24_576
