"""Sessions of channels, as clients sign them and as `refund` reads them."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from incentives.court import route_words
from incentives.signing import Signer, split_signature
from incentives.vouchers import ChannelKey, sign_voucher
from sharding.hashing import keccak256
from sharding.merkle import merkle_proof, merkle_root
from tests.contracts.world import PEER, World, dev, hot
from verification.routes import Route, RouteStage
from verification.work import work_leaf

POSITIONS = 7


def session_of(world: World, key: ChannelKey, number: int = 0) -> Route:
    """A session's route on a channel; its stages are of no account to a refund."""
    stages = (RouteStage(hot("node 0").address, 0, 2, 3), RouteStage(hot("node 1").address, 2, 4, 3))
    nonce, channel = number.to_bytes(32, "big"), key.id(world.domain(world.channels))
    return Route(nonce, channel, 0, bytes(32), stages, PEER, PEER, PEER, PEER, 16, PEER, 2**40 - 1)


def digest_of(world: World, route: Route) -> bytes:
    """The name under which the court convicts."""
    return route.digest(world.domain(world.verdicts))


def convict(world: World, route: Route, node: str) -> None:
    """The court finds the node guilty on the route."""
    world.send(dev(0), world.verdicts, "convict", digest_of(world, route), node)


def refunding(
    world: World, signer: Signer, key: ChannelKey, words: Sequence[bytes], index: int, route: Route, cumulative: int,
    amount: int, others: Sequence[bytes] = (),
) -> tuple[Any, ...]:  # fmt: skip
    """The arguments of `refund`: a voucher for `cumulative` whose work is a session of `amount`, and others after it."""
    leaves = [work_leaf(digest_of(world, route), amount, POSITIONS), *others]
    work, proof = merkle_root(leaves), merkle_proof(leaves, 0)
    signed = sign_voucher(signer, world.domain(world.channels), key, cumulative, work)
    paid = cumulative, work, *split_signature(signed.signature), amount, POSITIONS, proof
    return astuple(key), list(words), index, route_words(route), paid


def other_leaf(number: int) -> bytes:
    """Of some other session."""
    return work_leaf(keccak256(bytes([number])), number, number)
