"""The helpers that the contract tests stand on."""

import pytest

from incentives.deploy import create_address as shipped
from tests.contracts.world import create_address, dev


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 255, 256, 65_535, 65_536])
def test_addresses_of_contracts_are_foretold_at_any_nonce(nonce: int) -> None:
    """Two implementations agree where the encoding of the number changes."""
    assert create_address(dev(0).address, nonce) == shipped(dev(0).address, nonce)
