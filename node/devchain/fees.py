"""eth_feeHistory."""

from typing import Any

from node.devchain import shapes
from node.devchain.backend import EmbeddedChain, Mined
from node.devchain.constants import PRIORITY_FEE_WEI
from node.devchain.errors import InvalidParams
from node.devchain.params import BlockRef

MAX_COUNT = 1024
MAX_PERCENTILES = 100


def fee_history(chain: EmbeddedChain, count: int, newest: BlockRef, percentiles: list[Any]) -> dict[str, Any]:
    """Base fees of `count` blocks up to `newest` and of the one after, how full they were, and the tips paid."""
    if not 1 <= count <= MAX_COUNT:
        raise InvalidParams(f"{count} blocks of fee history; between 1 and {MAX_COUNT} can be had")
    if not isinstance(percentiles, list) or len(percentiles) > MAX_PERCENTILES:
        raise InvalidParams(f"expected at most {MAX_PERCENTILES} percentiles")
    last = chain.at(newest).number
    first = max(0, last - count + 1)
    found = list(chain.blocks(first, last))
    return {
        "oldestBlock": hex(first),
        "baseFeePerGas": [hex(one.header.base_fee_per_gas) for one in found] + [hex(_base_fee_after(chain, last))],
        "gasUsedRatio": [one.header.gas_used / one.header.gas_limit for one in found],
        "baseFeePerBlobGas": ["0x1"] * (len(found) + 1),
        "blobGasUsedRatio": [0.0] * len(found),
        "reward": [[hex(_tip(one))] * len(percentiles) for one in found] if percentiles else [],
    }


def _base_fee_after(chain: EmbeddedChain, number: int) -> int:
    following = chain.find(number + 1)
    header = chain.next_header() if following is None else following.header
    return int(header.base_fee_per_gas)


def _tip(mined: Mined) -> int:
    """A block has one transaction, so that every percentile is its tip; an empty block suggests the usual one."""
    if mined.transaction is None:
        return PRIORITY_FEE_WEI
    return shapes.paid_price(mined.transaction, mined) - int(mined.header.base_fee_per_gas)
