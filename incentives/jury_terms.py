"""What a jury is made with: money, clocks, and how far the beacon lies ahead. It can never change afterwards."""

from dataclasses import astuple, dataclass
from typing import Self

from incentives.strict_json import Fields
from incentives.units import MAX_AMOUNT, ONE

HOUR_S = 60 * 60
MAX_SECONDS = 2**40 - 1
MAX_LAG = 2**32 - 1
JURY_FIELDS = ("bond", "fee", "vote", "delay", "answer", "draw", "commit", "reveal", "appeal", "lag")


@dataclass(frozen=True, slots=True)
class JuryTerms:
    """As the contract's JuryTerms."""

    bond: int = 50 * ONE
    """What the first accusation of a node puts at stake, and its answer; at least 24 fees: half of it pays two juries."""
    fee: int = 2 * ONE
    """What a juror gets: the replay of one stage of one session, and three transactions."""
    vote: int = 10 * ONE
    """What a juror puts down for a vote; a hundredth of it is lost by silence or with the losing side."""
    delay_s: int = 48 * HOUR_S
    """How long after a route's expiry its outputs can be accused."""
    answer_s: int = 24 * HOUR_S
    draw_s: int = 4 * HOUR_S
    commit_s: int = 6 * HOUR_S
    reveal_s: int = 6 * HOUR_S
    appeal_s: int = 12 * HOUR_S
    """All clocks but the answer's run twice. With the delay they are shorter than the unbonding: the contract refuses others."""
    lag_blocks: int = 132
    """So far ahead nobody knows the beacon. Source: https://eips.ethereum.org/EIPS/eip-4399, four epochs and four slots."""

    @property
    def words(self) -> tuple[int, ...]:
        """In the contract's order."""
        return astuple(self)

    @property
    def longest_s(self) -> int:
        """From an expiry to the last second in which a case can be open."""
        twice = self.draw_s + self.commit_s + self.reveal_s + self.appeal_s
        return self.delay_s + self.answer_s + 2 * twice

    def to_json(self) -> dict[str, str | int]:
        """Amounts as text: many JSON readers round numbers past 2^53."""
        texts = (str(number) if k < 3 else number for k, number in enumerate(self.words))
        return dict(zip(JURY_FIELDS, texts, strict=True))

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Raises: DeploymentError."""
        bond, fee, vote = (fields.decimal(name, MAX_AMOUNT) for name in JURY_FIELDS[:3])
        delay, answer, draw, commit, reveal, appeal = (fields.integer(name, MAX_SECONDS) for name in JURY_FIELDS[3:9])
        return cls(bond, fee, vote, delay, answer, draw, commit, reveal, appeal, fields.integer("lag", MAX_LAG))


LOCAL_JURY = JuryTerms(
    5 * ONE, ONE // 5, ONE, delay_s=4, answer_s=3, draw_s=3, commit_s=3, reveal_s=2, appeal_s=2, lag_blocks=1
)
"""For chains of one's own: a whole case takes less than half a minute, which is how fast stake leaves there."""
