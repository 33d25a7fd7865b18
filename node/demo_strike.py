"""The demo's own mischief: one stage's process is killed in mid-answer. The client is told nothing of it."""

import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from node.client_context import DEFAULT_WINDOW_TOKENS
from node.client_session import ClientSession
from node.demo_nodes import DemoNode, DemoPlan
from node.errors import NodeStartFailed

RESTART_SECONDS = 30.0
POLL_SECONDS = 0.1


@dataclass(slots=True)
class Strike:
    """Which stage, and after how many tokens."""

    seed: int
    stage: int
    after_tokens: int
    nodes: Sequence[DemoNode]
    struck: list[DemoNode] = field(default_factory=list)

    @classmethod
    def draw(cls, plan: DemoPlan, nodes: Sequence[DemoNode]) -> "Strike | None":
        """One of the stages that have a spare, from a quarter of the answer on, and before the ring can have told all of it.

        The stages run up to a window ahead of the client; a kill after that would leave the last voucher with nobody.
        """
        if plan.strike_seed is None:
            return None
        dice = random.Random(plan.strike_seed)  # noqa: S311 - to be drawn again
        quarter = plan.max_tokens // 4
        last = max(1, min(3 * quarter + 1, plan.max_tokens - DEFAULT_WINDOW_TOKENS - 1))
        stage, first = dice.randrange(plan.spares), min(quarter + 1, last)
        return cls(plan.strike_seed, stage, dice.randint(first, last), nodes)

    def __str__(self) -> str:
        return f"seed {self.seed}: stage {self.stage} will be killed after {self.after_tokens} tokens"

    def watch(self, session: ClientSession) -> None:
        """Strike when the session has got so far."""
        session.on_token = lambda count: self._strike(session) if count == self.after_tokens else None

    def _strike(self, session: ClientSession) -> None:
        owner = session.run.opened.route.stages[self.stage].node
        for node in self.nodes:
            if node.owner.address == owner and (pid := node.pid) is not None:
                os.kill(pid, signal.SIGKILL)
                self.struck.append(node)

    def await_restarted(self) -> None:
        """Wait until the node that was killed serves again: it settles and collects what it holds."""
        deadline = time.monotonic() + RESTART_SECONDS
        while any(node.pid is None for node in self.struck):
            if time.monotonic() > deadline:
                raise NodeStartFailed(self.struck[0].owner.address, f"not back within {RESTART_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        killed = [node.owner.address for node in self.struck]
        return {"seed": self.seed, "stage": self.stage, "afterTokens": self.after_tokens, "killed": killed}
