"""What goes into one transaction: so many items and words, and no item is left out or comes twice."""

import pytest
from eth_abi import encode
from hypothesis import given
from hypothesis import strategies as st

from incentives.channels import PotShare
from incentives.evidence import Claim
from incentives.payees import POOL_BPS, WHOLE_BPS, payee_words, payees_for
from node.batches import MAX_WORDS, batches
from node.epoch_credit import MAX_CLAIMS
from node.messages import MAX_MESSAGE_STAGES
from node.settlement import MAX_BATCH
from tests.node.money_fakes import NODES, make_key
from verification.addresses import to_address

POOL_BYTES = 131_072 - 512
"""What pools take, less a signature, fees and a nonce."""
CLAIMS = ["address", "((address,address,bytes32,bytes32),bytes32[])[]"]
PLACES = ["address", "(bytes32[],uint256[])[]"]


@given(st.lists(st.integers(0, MAX_WORDS + 10)), st.integers(1, 70))
def test_batches_hold_everything_once_and_in_order(sizes: list[int], most: int) -> None:
    """None is empty, none has more than it may but one with a single item."""
    found = batches(sizes, most, lambda size: size)
    assert [size for batch in found for size in batch] == sizes
    assert all(1 <= len(batch) <= most and (sum(batch) <= MAX_WORDS or len(batch) == 1) for batch in found)


def test_a_batch_is_full_at_its_limits_and_not_before() -> None:
    """Of items, and of words."""
    assert [len(batch) for batch in batches(range(7), 3, lambda _: 0)] == [3, 3, 1]
    assert [len(batch) for batch in batches([MAX_WORDS - 1, 1], 9, int)] == [2]
    assert [len(batch) for batch in batches([MAX_WORDS - 1, 2], 9, int)] == [1, 1]


@pytest.mark.parametrize("stages", [1, 8, 30, 61, MAX_MESSAGE_STAGES])
def test_any_batch_of_any_route_is_a_transaction_that_pools_take(stages: int) -> None:
    """Claims, places of a node or of the audit pool: of the longest routes, too."""
    weights = [(to_address((n + 1).to_bytes(20, "big")), 1) for n in range(stages)]
    payees = (*payees_for(weights, WHOLE_BPS - POOL_BPS), *payees_for([(NODES[2].address, 1)], POOL_BPS))
    claim, share = Claim(make_key(1, payees), payee_words(payees)), PotShare(payees, (0, stages))
    claims = batches([claim] * 100, MAX_CLAIMS, lambda each: len(each.payees))[0]
    places = batches([share] * 100, MAX_BATCH, lambda each: len(each.payees))[0]
    rows = [(list(payee_words(each.payees)), list(each.indexes)) for each in places]
    account = NODES[0].address
    assert len(encode(CLAIMS, [account, [each.words for each in claims]])) < POOL_BYTES
    assert len(encode(PLACES, [account, rows])) < POOL_BYTES
