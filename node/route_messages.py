"""Between the messages on the wire and what they stand for: routes, channels, sampling parameters."""

from collections.abc import Sequence

from incentives.vouchers import ChannelKey
from node.messages import (
    ChannelMessage,
    RouteMessage,
    SamplingMessage,
    StageMessage,
    amount_bytes,
    amount_of,
)
from sharding.hashing import keccak256
from sharding.sampling import SamplingParams
from verification.addresses import address_bytes, to_address
from verification.routes import Route, RouteStage


def route_message(route: Route) -> RouteMessage:
    """Write a route for the wire. Raises: MalformedMessage, verification.errors.MalformedAddress."""
    stages = tuple(
        StageMessage(address_bytes(stage.node), stage.start, stage.end, amount_bytes(stage.ask))
        for stage in route.stages
    )
    return RouteMessage(
        nonce=route.nonce, channel=route.channel, epoch=route.epoch, previous=route.previous, stages=stages,
        manifest=route.manifest, profile=route.profile, sampler=route.sampler, prompt_root=route.prompt_root,
        window=route.window, audit_policy=route.audit_policy, expiry=route.expiry,
    )  # fmt: skip


def route_of(message: RouteMessage) -> Route:
    """Read a route from the wire; whether it makes sense is the stage's question."""
    stages = tuple(
        RouteStage(to_address(stage.node), stage.start, stage.end, amount_of(stage.ask)) for stage in message.stages
    )
    return Route(
        nonce=message.nonce, channel=message.channel, epoch=message.epoch, previous=message.previous, stages=stages,
        manifest=message.manifest, profile=message.profile, sampler=message.sampler, prompt_root=message.prompt_root,
        window=message.window, audit_policy=message.audit_policy, expiry=message.expiry,
    )  # fmt: skip


def channel_message(key: ChannelKey, payees: Sequence[bytes]) -> ChannelMessage:
    """Write a channel's key and the payee words whose hash it holds."""
    return ChannelMessage(address_bytes(key.payer), address_bytes(key.signer), tuple(payees), key.salt)


def channel_key(message: ChannelMessage) -> ChannelKey:
    """Read a channel's key; the hash of the payees is computed from the words, whatever they say."""
    payees = keccak256(b"".join(message.payees))
    return ChannelKey(to_address(message.payer), to_address(message.signer), payees, message.salt)


def sampling_message(params: SamplingParams) -> SamplingMessage:
    """Write sampling parameters for the wire."""
    return SamplingMessage(params.temperature, params.top_k, params.top_p, params.seed)


def sampling_of(message: SamplingMessage) -> SamplingParams:
    """Read sampling parameters; SamplingParams.validate is the stage's part."""
    return SamplingParams(message.temperature, message.top_k, message.top_p, message.seed)
