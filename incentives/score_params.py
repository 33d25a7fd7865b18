"""What the contracts of the scores are constructed with, and how a deployment's file says it."""

from dataclasses import asdict, dataclass
from typing import Any

from incentives.epochs import Clocks, CreditRule
from incentives.scores import MAX_MASS, ONE
from incentives.strict_json import Fields
from incentives.units import MAX_AMOUNT
from incentives.units import ONE as COIN

CLOCK_FIELDS = ("epoch", "exclusive", "posting", "activation", "response", "halfLife")
SCORE_FIELDS = ("capacity", "demandBond", "reward", "creditUnit", "creditCap")
MAX_SECONDS = 2**40 - 1
MAX_CAPACITY = 3_000


@dataclass(frozen=True, slots=True)
class ScoreParams:
    """Of Reliability and Evidence, but for the clocks. Amounts in the token's smallest unit."""

    capacity: int = MAX_CAPACITY
    """The most nodes in a table."""
    demand_bond: int = 5 * COIN
    """What asking for a root's leaves costs until they are shown; worth the gas of showing all there can be."""
    reward: int = COIN
    """For a root that came to count, out of what channels pay to the audit pool."""
    credit_unit: int = COIN
    """What has to be settled to a node for one unit of evidence."""
    credit_cap: int = 4 * ONE
    """The most that one payer gives one node in an epoch, in Q16.16."""

    @property
    def rule(self) -> CreditRule:
        """How what was settled becomes credit."""
        return CreditRule(self.credit_unit, self.credit_cap)


MAINNET_SCORES = ScoreParams()


def clocks_json(clocks: Clocks) -> dict[str, int]:
    return dict(zip(CLOCK_FIELDS, clocks.words, strict=True))


def clocks_from(fields: Fields) -> Clocks:
    """Raises: DeploymentError."""
    return Clocks(*(fields.integer(name, MAX_SECONDS) for name in CLOCK_FIELDS))


def scores_json(params: ScoreParams) -> dict[str, Any]:
    """Amounts of money as text: many JSON readers round numbers past 2^53."""
    values = zip(SCORE_FIELDS, asdict(params).values(), strict=True)
    return {name: str(value) if name in ("demandBond", "reward", "creditUnit") else value for name, value in values}


def scores_from(fields: Fields) -> ScoreParams:
    """Raises: DeploymentError."""
    return ScoreParams(
        capacity=fields.integer("capacity", MAX_CAPACITY),
        demand_bond=fields.decimal("demandBond", MAX_AMOUNT),
        reward=fields.decimal("reward", MAX_AMOUNT),
        credit_unit=fields.decimal("creditUnit", MAX_AMOUNT),
        credit_cap=fields.integer("creditCap", MAX_MASS),
    )
