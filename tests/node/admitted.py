"""A session that passed every check, with anything about it changed."""

from dataclasses import replace
from typing import Any

from incentives.payees import payee_words
from incentives.prices import RoutePrice
from node.admission import Admitted
from node.kept import Account, Kept, SessionKey
from node.messages import VoucherMessage, amount_bytes
from node.output_log import LogBudget, OutputLog
from sharding.sampling import SamplingParams
from tests.node.money_fakes import CLIENT, DOMAIN, NODES, PAYEES, make_key, make_voucher
from verification.routes import Route, RouteStage
from verification.work import session_work

PRICE = RoutePrice(80, (40, 24, 16))
WINDOW = 4
GREEDY = SamplingParams(0.0, 0, 1.0, 0)


def make_route(nonce: bytes = b"\x01" * 32, epoch: int = 0, salt: int = 1, stages: int = 3) -> Route:
    """Over the first so many nodes of the money's fakes, paid by the channel of that salt."""
    word = bytes(32)
    return Route(
        nonce=nonce, channel=make_key(salt).id(DOMAIN), epoch=epoch, previous=word,
        stages=tuple(RouteStage(node.address, n, n + 1, 8) for n, node in enumerate(NODES[:stages])),
        manifest=word, profile=word, sampler=word, prompt_root=word, window=WINDOW, audit_policy=word, expiry=2**40 - 1,
    )  # fmt: skip


def make_admitted(route: Route | None = None, salt: int = 1, **changes: Any) -> Admitted:
    """On the first stage of three, for a prompt of 100 tokens and 50 more."""
    route = make_route(salt=salt) if route is None else route
    admitted = Admitted(
        route=route, digest=route.struct_hash(), session=route.nonce[:16], stage=0, client=CLIENT.address,
        key=make_key(salt), payees=payee_words(PAYEES), price=PRICE, locked=2**90, seconds_left=3600, sampling=GREEDY,
        salt=bytes(32), prompt_tokens=100, capacity=150, is_provisional=False, priority=0,
    )  # fmt: skip
    return replace(admitted, **changes)


def make_kept(admitted: Admitted, outputs: OutputLog | None = None, account: Account | None = None) -> Kept:
    """What a stage has of a session; without a log of outputs it keeps none."""
    return Kept(SessionKey.of(admitted), OutputLog(LogBudget(0)) if outputs is None else outputs, account=account)


def promise(cumulative: int, positions: int = 100, terms: Admitted | None = None) -> VoucherMessage:
    """A good voucher for the session's work."""
    terms = terms or make_admitted()
    work = session_work(terms.digest, terms.price.session_cost(terms.prompt_tokens, positions), positions)
    return VoucherMessage(amount_bytes(cumulative), work, positions, make_voucher(cumulative, work=work).signature)
