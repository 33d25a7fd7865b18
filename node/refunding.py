"""Getting back what was paid to nodes that a court has convicted since. Synchronous."""

import logging
from dataclasses import dataclass

from incentives.channels import PaidSession
from incentives.errors import Reverted
from incentives.payees import parse_payees
from incentives.signing import Signer
from incentives.vouchers import sign_voucher
from node.channel_book import ChannelBook, OpenedChannel
from node.network import Network
from node.session_book import SessionRecord
from verification.addresses import Address
from verification.work import session_work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refund:
    """What came back of one session because of one node, in the smallest unit."""

    channel: bytes
    route: bytes
    node: Address
    amount: int


def refund_all(book: ChannelBook, network: Network, payer: Signer) -> list[Refund]:
    """Ask for every session of a payer's channels in which a node was convicted; what is ripe or was refunded gives nothing.

    Raises: ChainUnavailable. What the contract refuses is logged and does not hold up the others.
    """
    done = []
    for opened in book.all():
        if opened.key.payer == payer.address:
            settled = network.channels.state(opened.channel).settled
            for session in book.sessions(opened.channel) if settled else ():
                done += _refund(network, payer, opened, session, settled)
    return done


def _refund(
    network: Network, payer: Signer, opened: OpenedChannel, session: SessionRecord, settled: int
) -> list[Refund]:
    """The last promise may never have been settled: the client signs anew what was."""
    payees = parse_payees(opened.payees)
    work = session_work(session.digest, session.amount, session.positions)
    cumulative = min(settled, session.cumulative)
    signed = sign_voucher(payer, network.money_domain, opened.key, cumulative, work)
    paid, done = PaidSession(session.route, signed, session.amount, session.positions), []
    convicted = {each.node for each in payees if network.channels.is_convicted(session.digest, each.node)}
    for index, payee in enumerate(payees):
        if payee.node not in convicted:
            continue
        try:
            sent = network.channels.refund(payer, payees, index, paid)
        except Reverted as error:
            log.info("session %s: %s", session.digest.hex()[:16], error)
            continue
        amounts = [int(event.args["amount"]) for event in sent.logs if event.name == "Refunded"]
        done.append(Refund(opened.channel, session.digest, payee.node, sum(amounts)))
    return done
