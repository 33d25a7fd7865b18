"""The typed wrapper of the disputes asks for each proof as the contract wants it: an honest trace withstands them all."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from incentives.chain_types import Sent
from incentives.deployment import Deployment
from incentives.disputes import Disputes, Facts, FalseCopy
from incentives.errors import OtherNodes, Reverted, UnexpectedAnswer
from incentives.stands import NEW, Stand
from tests.contracts.descending import Fight, leaf, leaves, prepare
from tests.contracts.disputed import Case
from tests.contracts.test_disputes import CHALLENGER, OWNER, PREFIX, SIGNER, STRANGER, answered, played, stand_of
from tests.contracts.world import ANSWER, PEER, World
from verification.trace.evidence import pair

__all__ = ["played"]


class _Listed:
    """A deployment as the wrapper reads it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def contract(self, name: str) -> Any:
        return getattr(self._world, name.lower())

    def domain(self, name: str) -> Any:
        return self._world.domain(self.contract(name))


def _copy(made: Case, disputes: Disputes) -> FalseCopy:
    signature = SIGNER.sign_digest(made.earlier.digest(disputes.domain))
    return FalseCopy(made.proof(made.spot("1.keys", 1, 2)).data, made.receipt, made.earlier, signature)


def _twice(made: Case) -> Any:
    leaf, path = made.posted.tree.leaves[5], made.posted.tree.path(5)
    return pair(5, leaf, path, leaf, path)


Proof = Callable[[Disputes, Case, Facts, Stand], Sent]
PROOFS: dict[str, Proof] = {
    "product": lambda d, made, *about: d.prove_product(STRANGER, *about, made.proof(made.spot(*PREFIX)).data),
    "element": lambda d, made, *about: d.prove_element(STRANGER, *about, made.proof(made.spot("1.middle")).data),
    "copy": lambda d, made, *about: d.prove_copy(STRANGER, *about, _copy(made, d)),
    "signed": lambda d, made, *about: d.prove_signed(STRANGER, *about, made.signed(made.spot("1.output"))),
    "twice": lambda d, made, *about: d.prove_twice(STRANGER, *about, _twice(made)),
}


@pytest.mark.parametrize("name", PROOFS)
def test_an_honest_trace_withstands_every_proof(played: tuple[World, Case], name: str) -> None:
    """What is refused is the proof, for what it says: everything has come to its place."""
    world, made = played
    disputes = Disputes(world.chain, cast(Deployment, _Listed(world)))
    *_, stand = answered(world, made)
    facts = made.named(world, OWNER.address, CHALLENGER.address)
    with pytest.raises(Reverted, match="NothingWrong"):
        PROOFS[name](disputes, made, facts, stand_of(stand))


def _opens(sent: Sent) -> bool:
    return sent.logs[-1].name == "NodesOpened"


def test_an_answer_that_opens_nothing_is_told_from_one_that_does(world: World) -> None:
    """Where nodes are looked for that another transaction has opened."""
    disputes = Disputes(world.chain, cast(Deployment, _Listed(prepare(world))))
    fight = Fight(world, leaves(3), leaves(3)).challenge().answer()
    with pytest.raises(OtherNodes) as caught:
        disputes.opened(fight.sent[-1].tx_hash, replace(fight.stand, node=PEER))
    assert (caught.value.expected, caught.value.actual) == (PEER, bytes(32))


def test_what_was_opened_and_shown_is_read_from_the_transactions(world: World) -> None:
    """The nodes of an answer and of a step, the leaves of the last one; any other transaction is refused by name."""
    disputes = Disputes(world.chain, cast(Deployment, _Listed(prepare(world))))
    data = leaves(300, at41=leaf(41, b"wrong"))
    fight = Fight(world, data, leaves(300)).challenge(asks=True).answer().pick().open()
    stands = [NEW]
    for sent in fight.sent:
        stands.append(stands[-1].after(sent.logs, disputes.clocks()))
    opening = [(sent.tx_hash, stand) for sent, stand in zip(fight.sent, stands[1:], strict=True) if _opens(sent)]
    assert [disputes.opened(*each) for each in opening] == [list(nodes) for _, nodes in fight.seen]
    (first, one), (_, other) = opening
    with pytest.raises(OtherNodes) as caught:
        disputes.opened(first, other)
    assert (caught.value.tx_hash, caught.value.expected, caught.value.actual) == (first, other.node, one.node)
    fight.to_show().show()
    where = fight.stand.where
    assert disputes.shown(fight.sent[-1].tx_hash) == data[where.first : where.first + where.count]
    with pytest.raises(UnexpectedAnswer, match="calls show, not open"):
        disputes.opened(fight.sent[-1].tx_hash, fight.stand)
    with pytest.raises(UnexpectedAnswer, match="calls pick, not show"):
        disputes.shown(fight.sent[-2].tx_hash)
    deposit = world.send(OWNER, world.token, "approve", world.disputes.address, 5)
    with pytest.raises(UnexpectedAnswer, match="is not for Disputes"):
        disputes.opened(deposit.tx_hash, fight.stand)
    with pytest.raises(UnexpectedAnswer):
        disputes.opened(bytes(32), fight.stand)


def test_the_numbers_of_open_disputes_are_not_free(world: World) -> None:
    """Those that never were, and those of disputes that are over, are."""
    disputes = Disputes(world.chain, cast(Deployment, _Listed(prepare(world))))
    fight = Fight(world, leaves(3), leaves(3), chunk=5)
    assert disputes.is_free(CHALLENGER.address, 5)
    assert disputes.bonds_at(CHALLENGER.address, 5) == 0
    fight.challenge()
    assert disputes.bonds_at(CHALLENGER.address, 5) is None
    assert [disputes.is_free(CHALLENGER.address, number) for number in (4, 5, 6)] == [True, False, True]
    world.pass_time(ANSWER + 1)
    fight.act(STRANGER, "close")
    assert disputes.is_free(CHALLENGER.address, 5)
    assert disputes.bonds_at(CHALLENGER.address, 5) == 1
    assert disputes.bonded(CHALLENGER.address) == {5: 1}
    assert disputes.bonded(OWNER.address) == {}
    (event,) = disputes.unbond(CHALLENGER, 5).logs
    assert (event.name, event.args["bonds"], disputes.bonds_at(CHALLENGER.address, 5)) == ("Unbonded", 1, 0)
