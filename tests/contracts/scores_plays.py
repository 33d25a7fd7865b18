"""Three nodes, the liar among them, before the real Court; and two channels that pay all of them and the audit pool."""

from dataclasses import astuple
from functools import cache
from typing import Any

from web3 import Web3

from incentives.artifacts import error_name
from incentives.chain import Contract
from incentives.score_challenges import Case
from incentives.score_tree import EDGE, Gap, ScoreTable, conflict
from incentives.signing import Signer
from incentives.vouchers import ChannelKey
from sharding.hashing import keccak256
from tests.conftest import answered
from tests.contracts.evidence_model import Known
from tests.contracts.evidence_world import KEY, NODE, OTHER, PAYER, EvidenceWorld, deploy_evidence
from tests.contracts.lies import LIES, NOBODY_ENROLLED
from tests.contracts.score_world import CLOCKS
from tests.contracts.scores_model import Model, Standing
from tests.contracts.stakes_model import Node
from tests.contracts.world import FOREVER, PEER, World, dev, hot, shipped
from verification.addresses import Address, address_bytes
from verification.routes import Route, RouteStage

LIAR, CHALLENGER, BANK = dev(4), dev(5), dev(0)
NODES, SHARES = (NODE, OTHER, LIAR), (5_000, 2_750, 2_000)
PAYERS, LOCKED = (PAYER, LIAR), 10**6
STAKE = 1_000
KINDS = ("Total", "Draw", "Order", "Omission", "Leaf")
Accusation = tuple[str, tuple[Any, ...], bool]
"""The function, what it is given, and whether that shows a lie."""


def deploy_nodes(world: World) -> EvidenceWorld:
    """Nobody is enrolled."""
    made = deploy_evidence(world)
    world.send(LIAR, world.token, "approve", made.world.stakes.address, FOREVER)
    made.world.join(LIAR, hot(LIAR.address), STAKE)
    for who in (CHALLENGER, LIAR):
        world.send(who, world.token, "approve", made.scores.address, FOREVER)
    for payer in PAYERS:
        made.world.channel(payer, KEY, words_of(made), LOCKED)
    return made


def refused_now(world: World, who: Signer, contract: Contract, fn: str, *words: Any) -> str | None:
    """What the call would be refused with in the newest block's very second; a transaction's reason is that of the block before."""
    call = {"from": who.address, "to": contract.address, "data": _codec(contract.name).encode_abi(fn, words)}
    error = answered(world.url, "eth_call", call, "latest").get("error", {})
    return error_name(bytes.fromhex(str(error.get("data", "")).removeprefix("0x")))


@cache
def _codec(name: str) -> Any:
    return Web3().eth.contract(abi=list(shipped(name).abi))


def words_of(made: EvidenceWorld) -> list[bytes]:
    """The payees of either channel; the pool is the last."""
    return made.words(*((node.address, share) for node, share in zip(NODES, SHARES, strict=True)))


def key_of(made: EvidenceWorld, channel: int) -> ChannelKey:
    return made.world.channel(PAYERS[channel], KEY, words_of(made))


def claim_of(made: EvidenceWorld, channel: int) -> tuple[tuple[Any, ...], list[bytes]]:
    return astuple(key_of(made, channel)), words_of(made)


def route_of(made: EvidenceWorld, channel: int, number: int) -> Route:
    """One of a channel's routes."""
    paid = key_of(made, channel).id(made.world.domain(made.world.channels))
    stages = (RouteStage(NODE.address, 0, 4, 5),)
    nonce = number.to_bytes(32, "big")
    return Route(nonce, paid, 0, bytes(32), stages, PEER, PEER, PEER, PEER, 16, PEER, 2**32)


def digest_of(made: EvidenceWorld, channel: int, number: int) -> bytes:
    """By which the Court knows the route."""
    return route_of(made, channel, number).digest(made.world.domain(made.world.court))


def receipt_of(number: int) -> bytes:
    return keccak256(number.to_bytes(32, "big"))


def model_of(made: EvidenceWorld) -> Model:
    """As it was deployed."""
    genesis, _ = made.world.view(made.scores, "calendar")
    shares = {node.address: share for node, share in zip(NODES, SHARES, strict=True)}
    nodes = {node.address: Node(bonded=STAKE, paid_in=STAKE) for node in NODES}
    return Model(genesis, nodes, Known(tuple(payer.address for payer in PAYERS), shares))


def edges(model: Model, now: int) -> list[int]:
    """The seconds at which something will change by itself."""
    ended = model.end_of(model.epoch_at(now) - 1)
    found = {ended + wait for wait in (CLOCKS.exclusive, CLOCKS.posting, CLOCKS.epoch)}
    found |= {one.active_at for one in model.ring.values()} | {deadline for _, deadline in model.bonds.values()}
    found |= {node.exit_at for node in model.nodes.values()}
    return sorted(each for each in found if each > now)


def made_up(honest: ScoreTable, lie: str, at: int) -> tuple[ScoreTable, int]:
    """Leaves and total that a poster says; the honest ones by no lie. Nothing is nobody's."""
    if not honest.leaves:
        return honest, 1
    table = LIES[lie](honest, at % len(honest.leaves)) if lie in LIES else honest
    return table, honest.total + (lie == "total")


def case_of(model: Model, one: Standing) -> Case:
    """For who looks for its lie."""
    return Case(one.posting, model.due(one), model.end_of(one.epoch), CLOCKS, one.base, one.before)


def accusation(model: Model, one: Standing, kind: str, i: int, j: int) -> Accusation | None:
    """Something that can be shown of a posted root; None where there is no such leaf."""
    words, leaves = one.posting.words, one.table.leaves
    if kind == "Total":
        return "challengeTotal", (words,), one.posting.total != sum(model.stakes(one.epoch).values())
    if kind == "Draw":
        return _draw(model, one, i)
    if kind == "Omission":
        node = (*(each.address for each in NODES), NOBODY_ENROLLED)[i % 4]
        gap = one.table.gap(node)
        wrong = _excludes(gap, node, one.posting.total) and model.stake_at(one.epoch, node) > 0
        return "challengeOmission", (words, node, gap.words), wrong
    if not leaves:
        return None
    x, y = (one.table.proven(k % len(leaves)) for k in (i, j))
    if kind == "Order":
        return "challengeOrder", (words, *x.words, *y.words), x.leaf != y.leaf and conflict(x.leaf, y.leaf)
    before = (one.before.gap(x.leaf.node) if one.before else Gap()).words
    return "challengeLeaf", (words, *x.words, one.base.words, before), model.is_leaf_wrong(one, i % len(leaves))


def _draw(model: Model, one: Standing, i: int) -> Accusation:
    if one.before is None:
        return "challengeDraw", (one.posting.words, one.base.words, EDGE.words, []), False
    at = i % len(one.before.leaves)
    arguments = one.posting.words, one.base.words, *one.before.proven(at).words
    return "challengeDraw", arguments, model.is_drawn_wrong(one, at)


def _excludes(gap: Gap, node: Address, total: int) -> bool:
    """Whether nothing lies between the two leaves, and the node would have to."""
    below, above = gap.below.leaf, gap.above.leaf
    if below != EDGE and address_bytes(below.node) >= address_bytes(node):
        return False
    if above == EDGE:
        return below.stake_to == total
    return address_bytes(above.node) > address_bytes(node) and above.stake_from == below.stake_to
