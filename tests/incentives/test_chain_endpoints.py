"""The chain client over several URLs."""

from typing import Any

import pytest

from incentives.chain import Web3Chain
from incentives.client_errors import StaleChain
from incentives.endpoint_health import NO_LIMITS, HeadLimits
from incentives.errors import CodeMismatch
from tests.incentives.fake_rpc import chain_answers, serving
from tests.incentives.suite import DEPLOYER, STRANGER, Suite

OLD = {"number": "0x5", "timestamp": "0x64", "hash": "0x" + "11" * 32, "baseFeePerGas": "0x1"}


def test_a_dead_url_before_a_live_one_costs_nothing_but_a_try(suite: Suite) -> None:
    """Reading and sending go to the other one."""
    chain = Web3Chain(["http://127.0.0.1:9", suite.url], expected_chain_id=31337)
    sent = chain.transfer_native(DEPLOYER, STRANGER.address, 1)
    assert chain.head().number == sent.block
    assert [health.failures > 0 for health in chain.pool.health()] == [True, False]


def test_an_endpoint_with_other_code_at_a_contracts_address_is_not_used(suite: Suite) -> None:
    """The deployment is compared with each endpoint; one alone that differs is a CodeMismatch."""
    with serving(chain_answers(eth_getCode="0x6000")) as url:
        chain = Web3Chain([url, suite.url])
        chain.pool.require(suite.deployment.verify)
        assert chain.code(suite.token.address) != b"\x60\0"
        assert isinstance(chain.pool.health()[0].refused, CodeMismatch)
        with pytest.raises(CodeMismatch, match="Token"):
            Web3Chain(url).pool.require(suite.deployment.verify)


@pytest.mark.parametrize(("chain_id", "heads"), [("0x7a69", HeadLimits()), ("0x1", None)])
def test_old_heads_are_refused_where_asked_for_and_on_every_chain_but_the_local_one(chain_id: str, heads: Any) -> None:
    """By default."""
    with serving(chain_answers(eth_chainId=chain_id, eth_getBlockByNumber=OLD)) as url, pytest.raises(StaleChain):
        Web3Chain(url, heads=heads).head()


@pytest.mark.parametrize(("chain_id", "heads"), [("0x7a69", None), ("0x1", NO_LIMITS)])
def test_old_heads_are_taken_where_the_limits_are_off(chain_id: str, heads: Any) -> None:
    """As on a local chain, which mines on demand."""
    with serving(chain_answers(eth_chainId=chain_id, eth_getBlockByNumber=OLD)) as url:
        assert Web3Chain(url, heads=heads).head().number == 5
