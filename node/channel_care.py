"""Getting money out of channels: what the chain says decides, whatever a crash left in the book. Synchronous."""

import logging
from collections.abc import Callable

from incentives.channels import ChannelState
from incentives.errors import Reverted
from incentives.signing import Signer
from node.channel_book import ChannelBook, OpenedChannel
from node.network import Network

log = logging.getLogger(__name__)


def sync(book: ChannelBook, network: Network, opened: OpenedChannel) -> ChannelState:
    """Bring the book up to the chain about one channel: a crash may have come between a transaction and its record."""
    state = network.channels.state(opened.channel)
    if state.is_open and state.locked != opened.locked:
        book.set_locked(opened.channel, max(state.locked, opened.cumulative))
    if state.reclaimed or (state.locked == 0 and opened.locked > 0):
        book.set_state(opened.channel, "reclaimed")
    elif state.closes_at and opened.state != "closing":
        book.set_state(opened.channel, "closing")
    return state


def close_all(book: ChannelBook, network: Network, payer: Signer) -> list[OpenedChannel]:
    """Begin to close every channel of a payer that the chain has open; returns those."""
    return _each(book, network, payer, lambda state: state.is_open, lambda each: _close(book, network, payer, each))


def reclaim_all(book: ChannelBook, network: Network, payer: Signer) -> list[OpenedChannel]:
    """Free what is left in every closing channel whose delay is over; returns those."""
    now = network.chain.head().timestamp
    return _each(
        book, network, payer,
        lambda state: 0 < state.closes_at <= now and not state.reclaimed,
        lambda each: _reclaim(book, network, payer, each),
    )  # fmt: skip


def _each(
    book: ChannelBook, network: Network, payer: Signer, wanted: Callable[[ChannelState], bool],
    act: Callable[[OpenedChannel], None],
) -> list[OpenedChannel]:  # fmt: skip
    """Act on each channel that is wanted; one that the contract refuses is logged and does not hold up the others."""
    done = []
    for opened in book.all():
        if opened.key.payer != payer.address or not wanted(sync(book, network, opened)):
            continue
        try:
            act(opened)
            done.append(opened)
        except Reverted as error:
            log.warning("channel %s: %s", opened.channel.hex(), error)
    return done


def _close(book: ChannelBook, network: Network, payer: Signer, opened: OpenedChannel) -> None:
    network.channels.close(payer, opened.key)
    book.set_state(opened.channel, "closing")


def _reclaim(book: ChannelBook, network: Network, payer: Signer, opened: OpenedChannel) -> None:
    network.channels.reclaim(payer, opened.key)
    book.set_state(opened.channel, "reclaimed")
