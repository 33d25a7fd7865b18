"""Asking a Judge about elements of traces."""

from typing import Any

from incentives.models import Models
from tests.contracts.disputed import Case
from tests.contracts.world import World, dev
from verification.trace.layout import Spot

NODE = dev(1).address
EARLIER = bytes(32)
"""The kvRoot of no earlier receipt."""
Bench = tuple[World, Any, Models]


def is_wrong(bench: Bench, made: Case, spot: Spot) -> bool:
    world, judge, _ = bench
    proof = made.proof(spot)
    earlier = made.earlier.kv_root if proof.receipt else EARLIER
    return bool(world.view(judge, "isElementWrong", made.traced, made.root, earlier, proof.data))


def refused(bench: Bench, made: Case, data: bytes, earlier: bytes = EARLIER, root: bytes | None = None) -> str:
    world, judge, _ = bench
    call = judge, "isElementWrong", made.traced, made.root if root is None else root, earlier, data
    return world.refusal(dev(9), *call)[0]
