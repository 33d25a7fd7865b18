"""A tiny exact model, a session on it, a node's signed receipts of two chunks, and the trace it may have to post."""

from dataclasses import astuple, dataclass, replace
from functools import cache
from typing import Any

import torch

from incentives.disputes import Facts
from incentives.models import Models
from incentives.signing import Signer, split_signature
from sharding.exact.layout import span_slots
from sharding.exact.parameters import parameters_of
from sharding.hashing import keccak256
from sharding.manifest_tree import trace_leaf
from sharding.merkle import merkle_leaf
from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.contracts.world import World, dev
from tests.verification.trace.traced import Session, operands_at, session
from verification.addresses import Address
from verification.receipts import Receipt
from verification.routes import Route, RouteStage, profile_id, sampler_commitment, sampler_opening
from verification.trace.evidence import ElementProof, Material, Roots, element_proof, signed_proof
from verification.trace.fields import draw_of
from verification.trace.layout import Spot, TraceLayout
from verification.trace.posted import LeafTree, PostedTrace
from verification.trace.resolve import Operands
from verification.trace.sources import kept_blocks, weight_rows
from verification.trace.tree import Leaf, kept_leaves, position_key, row_leaves, trace_leaves
from verification.trace.weights_tree import WeightsTree

SALT = keccak256(b"salt of the route")
FIRST, LAST, POSITION = 4, 8, 6
EXPIRES_IN = 100
DTYPES = {"I8": torch.int8, "I16": torch.int16, "I32": torch.int32}
GREEDY = SamplingParams()


@dataclass(frozen=True, slots=True)
class Case:
    """A receipt of one stage, the one before it, and what lies behind them."""

    operands: Operands
    material: Material
    manifest: bytes
    span: Span
    route: Route
    earlier: Receipt
    receipt: Receipt
    posted: PostedTrace

    @property
    def layout(self) -> TraceLayout:
        return self.posted.layout

    @property
    def leaves(self) -> list[Leaf]:
        return [*self.posted.tree.leaves]

    @property
    def root(self) -> bytes:
        return self.posted.root

    def with_leaf(self, index: int, elements: bytes) -> "Case":
        """The same with other elements in a leaf of the trace."""
        return replace(self, posted=self.posted.with_leaf(index, elements))

    def spot(self, name: str, row: int = 0, column: int = 0) -> Spot:
        return Spot(self.layout.field(name), row, column)

    def spoilt(self, spot: Spot, by: int = 1) -> "Case":
        """One element is wrong."""
        field, numbers = spot.field, self.posted.numbers(spot)
        assert numbers is not None
        index, place = self.layout.leaf_of(field.name, spot.row, spot.column), field.size * (spot.column % 128)
        old = self.posted.tree.leaf(index).elements
        other = (int(numbers[0]) + by).to_bytes(field.size, "little", signed=True)
        return self.with_leaf(index, old[:place] + other + old[place + field.size :])

    def proof(self, spot: Spot) -> ElementProof:
        return element_proof(self.posted, spot, self.material)

    def signed(self, spot: Spot) -> bytes:
        return signed_proof(self.posted, spot, self.material).data

    @property
    def traced(self) -> tuple[Any, ...]:
        return self.manifest, keccak256(self.material.roots.words), self.span.start, self.span.end, POSITION

    def named(self, world: World, node: Address, challenger: Address, number: int = 0) -> Facts:
        return Facts(
            self.traced, self.receipt.digest(world.domain(world.court)), self.receipt.route, node, challenger, number
        )

    def facts(self, world: World, node: Address, challenger: Address, number: int = 0) -> tuple[Any, ...]:
        """The dispute's name and facts, as its acts want them."""
        named = self.named(world, node, challenger, number)
        return named.id(), named.words

    def challenge(
        self, world: World, signer: Signer, position: int = POSITION, *, number: int = 0, asks: bool = False
    ) -> tuple[Any, ...]:
        """The arguments of `challenge`."""
        signature = split_signature(signer.sign_digest(self.receipt.digest(world.domain(world.court))))
        stage = self.route.stages[self.receipt.stage]
        return astuple(self.receipt), *signature, terms(self.route), astuple(stage), position, number, asks


def terms(route: Route) -> tuple[Any, ...]:
    """As RouteTerms."""
    stages = [stage.struct_hash() for stage in route.stages]
    head = route.nonce, route.channel, route.epoch, route.previous, stages, route.manifest, route.profile
    return *head, route.sampler, route.prompt_root, route.window, route.audit_policy, route.expiry


def stored(made: Session) -> dict[str, torch.Tensor]:
    """The model's tensors as a folder holds them."""
    rows, spec = weight_rows(made.model), made.model.spec
    slots = span_slots(spec, spec.whole)
    return {
        name: torch.from_numpy(rows[name]).to(DTYPES[slot.dtype]).reshape(slot.shape) for name, slot in slots.items()
    }


def registered(models: Models, made: Session, weights: WeightsTree) -> bytes:
    """Register a manifest whose only leaf is the one about traces; its root."""
    numbers = parameters_of(made.model.spec)
    manifest = merkle_leaf(trace_leaf(numbers, weights.root))
    models.register(dev(0), manifest, numbers, weights.root, [])
    return manifest


def kept_tree(made: Session, span: Span, positions: range) -> LeafTree:
    """What a stage over the span signs as kvRoot of a chunk."""
    blocks = [each.rows() for each in kept_blocks(made.cache, positions.stop)]
    count = 2 * made.model.spec.num_kv_heads
    leaves: list[Leaf] = []
    for position in positions:
        rows = slice(position * count, (position + 1) * count)
        for block in span.blocks:
            heads, exponents = blocks[block].heads[rows], blocks[block].exponents[rows, 0]
            leaves += kept_leaves(block, heads, exponents, position, position_key(SALT, position))
    return LeafTree(leaves)


def case(
    world: World,
    models: Models,
    node: Address,
    span: Span,
    draw: SamplingParams | None = GREEDY,
    **sizes: Any,
) -> Case:
    """An honest one: node works on the span, after another stage where it is not the first."""
    made = session(3, **sizes)
    weights = WeightsTree(made.model.spec, stored(made))
    manifest = registered(models, made, weights)
    is_last = span.end == made.model.spec.num_blocks
    spans = [each for each in (Span(0, span.start) if span.start else None, span) if each is not None]
    stages = tuple(RouteStage(node, each.start, each.end, 5) for each in spans)
    route = _route(world, manifest, stages, draw or GREEDY)
    operands = operands_at(made, span, POSITION, draw_of(draw) if is_last and draw is not None else None)
    entered = _rows(made, span.start, range(FIRST, LAST))
    output = _chosen(operands) if is_last else _rows(made, span.end, range(FIRST, LAST))
    kept = tuple(kept_tree(made, span, each) for each in (range(FIRST, LAST), range(FIRST)))
    digest = route.digest(world.domain(world.court))
    stage, one = len(stages) - 1, keccak256(b"one")
    earlier = Receipt(digest, stage, 0, 0, FIRST, bytes(32), one, kept[1].root, one)
    receipt = Receipt(digest, stage, 1, FIRST, LAST, bytes(32), entered.root, kept[0].root, output.root)
    roots = Roots(entered.root, kept[0].root, output.root, route.sampler)
    material = Material(weights, roots, entered, output, kept, sampler_opening(draw or GREEDY))
    leaves = list(trace_leaves(operands.trace, position_key(SALT, POSITION)))
    posted = PostedTrace(operands.trace.layout, LeafTree(leaves))
    return Case(operands, material, manifest, span, route, earlier, receipt, posted)


def _rows(made: Session, block: int, positions: range) -> LeafTree:
    leaves: list[Leaf] = []
    for position in positions:
        row = made.tokens[position : position + 1] if block == 0 else made.rows[block, position]
        leaves += row_leaves(row, position, position_key(SALT, position))
    return LeafTree(leaves)


def _chosen(operands: Operands) -> LeafTree:
    """The token at the position in question, and another one; none where nobody asked for it."""
    trace = operands.trace
    leaves = row_leaves(trace.values["token" if trace.layout.has("token") else "row"][0, :1], 3, SALT)
    if trace.layout.has("chosen"):
        leaves += row_leaves(trace.output[0], POSITION, position_key(SALT, POSITION))
    return LeafTree(leaves)


@cache
def _one() -> bytes:
    return keccak256(b"one")


def _route(world: World, manifest: bytes, stages: tuple[RouteStage, ...], draw: SamplingParams) -> Route:
    one = _one()
    expiry = world.chain.head().timestamp + EXPIRES_IN
    sampler = sampler_commitment(draw)
    return Route(one, one, 0, bytes(32), stages, manifest, profile_id("exact-1"), sampler, one, 16, one, expiry)
