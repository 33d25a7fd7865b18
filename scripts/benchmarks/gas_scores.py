"""What reliability costs: a root over a hundred nodes, the same without roots, a leaf's fraud proof, and a claim of credit."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from incentives.artifacts import load_artifact
from incentives.chain import Web3Chain
from incentives.channels import Channels
from incentives.deployment import LOCAL_TESTNET, Deployment
from incentives.epochs import Evidence, build
from incentives.evidence import Claim, WorkEvidence
from incentives.payees import POOL_BPS, Payee, payee_words, payees_hash
from incentives.reliability import Reliability
from incentives.score_challenges import Case, evidence_commitment, find_challenge
from incentives.score_tree import Posting, ScoreTable
from incentives.scores import ONE, Masses
from incentives.signing import LocalSigner
from incentives.units import ONE as COIN
from incentives.vouchers import ChannelKey, sign_voucher
from verification.addresses import Address, address_bytes, to_address

NODES = 100
CLOCKS = LOCAL_TESTNET.clocks
RING = 8
WORK = bytes(range(32, 64))
SALT = bytes(range(64, 96))


@dataclass(frozen=True)
class ScoreActs:
    """A bonded node that posts, its challenger, a client, and the chain's clock. `at`: the next block is of this second."""

    chain: Web3Chain
    deployment: Deployment
    node: LocalSigner
    challenger: LocalSigner
    client: LocalSigner
    at: Callable[[int], None]

    @property
    def scores(self) -> Reliability:
        return Reliability(self.chain, self.deployment.contract("Reliability"))

    def by_root(self) -> dict[str, int]:
        """The first root of all, and one whose place in the ring was used before."""
        used = {"reliability_100_root_first": self._post(self._table())[0]}
        for _ in range(RING):
            used["reliability_100_root"], _ = self._post(self._table())
        return used

    def fraud_proof(self) -> dict[str, int]:
        """Of one leaf among a hundred and one, with the slash of its poster, whose finder has committed."""
        scores, own = self.scores, self.node.address
        scores.enrol(self.challenger, own)
        honest = self._table(scores.enrolled(scores.current_epoch()))
        place = next(index for index, leaf in enumerate(honest.leaves) if leaf.node == own)
        lie = replace(honest.leaves[place], masses=Masses(ONE, 0))
        lying = ScoreTable((*honest.leaves[:place], lie, *honest.leaves[place + 1 :]))
        _, posting = self._post(lying)
        base = next(each for each in scores.postings() if each.epoch == posting.base)
        case = Case(posting, honest, lie.as_of, CLOCKS, base, self._table(at=base.epoch))
        found = find_challenge(case, lying)
        if found is None or found.function != "challengeLeaf":
            raise LookupError("the lie was not found")
        used = {"score_commit": scores.commit(self.challenger, self._commitment(posting)).gas_used}
        finder = self.challenger.address
        self.at(self.chain.head().timestamp + 1)
        self.chain.transfer_native(self.challenger, finder, 1)  # so that the newest block is of a later second
        return used | {"score_fraud_proof": scores.challenge(self.challenger, found, finder, SALT).gas_used}

    def _commitment(self, posting: Posting) -> bytes:
        return evidence_commitment(self.challenger.address, posting, SALT)

    def claims(self) -> dict[str, int]:
        """For one channel: the node's first credit ever, and a later one in the same epoch."""
        evidence, channels = WorkEvidence(self.chain, self.deployment), Channels(self.chain, self.deployment)
        payees = (Payee(self.node.address, 10_000 - POOL_BPS), Payee(evidence.pool, POOL_BPS))
        key = ChannelKey(self.client.address, self.client.address, payees_hash(payees), WORK)
        claim, used = Claim(key, payee_words(payees)), {}
        channels.open(self.client, key, COIN)
        for again, amount in (("_first", COIN // 10_000), ("", COIN // 5_000)):
            channels.settle(self.client, sign_voucher(self.client, channels.domain, key, amount, WORK))
            used[f"credit_claim{again}"] = evidence.claim(self.node, self.node.address, [claim]).gas_used
        return used

    def directly(self) -> dict[str, int]:
        """All in one report by a court that is a plain account, so that the report alone is measured."""
        court, token = self.challenger, self.deployment.token.address
        bonds = self.chain.deploy(
            self.node, load_artifact("Stakes"), token, court.address, 1, LOCAL_TESTNET.unbonding_s, 0
        )
        terms = CLOCKS.words, self.chain.head().timestamp, NODES, 1, 0
        made = self.chain.deploy(
            self.node, load_artifact("Reliability"), bonds.address, court.address, court.address, *terms
        )
        evidence = (100 * ONE).to_bytes(4, "big") + bytes(2) + (9_000).to_bytes(2, "big")
        rows = b"".join(address_bytes(node) + evidence for node in _nodes())
        used = {}
        for again in ("_first", ""):
            used[f"reliability_100_direct{again}"] = self.chain.send(court, made.contract, "report", rows).gas_used
            self.at(self.chain.head().timestamp + CLOCKS.epoch)
        return used

    def _table(self, more: dict[Address, int] | None = None, at: int | None = None) -> ScoreTable:
        """Of the running epoch; nobody has enrolled these nodes, which nobody asks where nobody challenges."""
        stakes = dict.fromkeys(_nodes(), 10**21) | (more or {})
        evidence = {node: Evidence(100 * ONE, 0, 9_000) for node in _nodes()}
        epoch = self.scores.current_epoch() if at is None else at
        return build(stakes, None, [evidence], self.scores.end_of(epoch), CLOCKS)

    def _post(self, table: ScoreTable) -> tuple[int, Posting]:
        """When the running epoch is over and anybody may; the next one begins a second after it counts."""
        ended = table.leaves[0].as_of
        epoch = (ended - self.scores.end_of(0)) // CLOCKS.epoch
        self.at(ended + CLOCKS.exclusive + 1)
        words = epoch, table.root, table.total, self.node.address
        sent = self.chain.send(self.node, self.scores.contract, "post", *words, gas=200_000)
        return sent.gas_used, self.scores.postings()[-1]


def _nodes() -> list[Address]:
    dice = random.Random(9)  # noqa: S311 - addresses, not secrets
    return [to_address(dice.randbytes(20)) for _ in range(NODES)]
