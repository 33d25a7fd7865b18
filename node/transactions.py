"""The transactions of a node's key: recorded before they are sent, looked after while the node runs, continued after a restart.

Owners' and clients' keys are not recorded. Theirs are single commands with somebody before the screen, what they do can be
seen on the chain, and a client's channels are in its book before they are paid for.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from incentives.errors import ChainError
from incentives.signing import DEV_CHAIN_ID, Signer
from incentives.tx_fees import GWEI, FeePolicy, SenderPolicy
from incentives.tx_states import Job, TxState
from incentives.tx_store import Waiting, waiting_in
from node.network import Network, chain_folder
from node.settings import NodeSettings

if TYPE_CHECKING:
    from incentives.tx_sender import TxSender

log = logging.getLogger(__name__)

TICK_SECONDS = 5.0
_OVER = frozenset({TxState.FINAL, TxState.FAILED})
_MINED = _OVER | {TxState.MINED}


def sender_policy(settings: NodeSettings, chain_id: int) -> SenderPolicy:
    """The patience of a node's sender. The local chain mines at once and takes nothing back."""
    usual = 0 if chain_id == DEV_CHAIN_ID else SenderPolicy().confirmations
    cap = settings.max_fee_gwei * GWEI
    fees = FeePolicy(max_fee_cap=cap, max_tip_cap=min(cap, FeePolicy().max_tip_cap))
    return SenderPolicy(confirmations=usual if settings.confirmations is None else settings.confirmations, fees=fees)


def open_record(network: Network, signer: Signer, settings: NodeSettings) -> "TxSender":
    """Record the key's transactions from now on, and take a first look at those of an earlier life. The caller closes it.

    Raises: ClientLocked while another process has the record, ClientStoreError, ChainUnavailable.
    """
    folder, policy = chain_folder(network, settings.data_dir), sender_policy(settings, network.chain.chain_id)
    sender = network.chain.record(signer, folder, policy)
    try:
        _look_after(sender)
    except ChainError as error:
        log.warning("transactions of an earlier run wait: %s", error)
    return sender


def waiting_transactions(network: Network, account: str, settings: NodeSettings) -> tuple[Waiting, ...]:
    """What is under way, by the record of a node that runs or not. Raises: ClientStoreError, ChainError."""
    return waiting_in(chain_folder(network, settings.data_dir), network.chain.chain_id, account)


class Wishes:
    """Names for what is to be sent: while a transaction is under way, the same wish finds it instead of sending another one."""

    def __init__(self, recorded: "Callable[[str], Job | None]") -> None:
        self._recorded = recorded
        self._numbers: dict[str, int] = {}

    def once(self, wish: str) -> str:
        """For what the chain shows as done: wished for again although it is final, it was taken back or had reverted."""
        return self._numbered(wish, _OVER)

    def again(self, wish: str) -> str:
        """For what is done over and over: once a block holds it, the next one may be sent."""
        return self._numbered(wish, _MINED)

    def _numbered(self, wish: str, over: frozenset[TxState]) -> str:
        number = self._numbers.get(wish, 1)
        while (
            (job := self._recorded(f"{wish}-{number}")) is not None and job.inclusion is not None and job.state in over
        ):
            number += 1
        self._numbers[wish] = number
        return f"{wish}-{number}"


async def keep_ticking(sender: "TxSender", every_seconds: float = TICK_SECONDS) -> None:
    """Look after what is under way until cancelled; a chain that is down is asked again at the next tick."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await asyncio.to_thread(_look_after, sender)
        except ChainError as error:
            log.warning("transactions wait: %s", error)
        except Exception:  # nobody would start it again, and a price too low would never be raised
            log.exception("looking after transactions failed")


def _look_after(sender: "TxSender") -> None:
    for job in sender.tick():
        if job.state in _OVER or job.state is TxState.REPLACED:
            log.info("transaction %s is %s%s", job.key, job.state, f": {job.reason}" if job.reason else "")
