"""When the chain is told of a node again: where its word would lead somebody astray, and not otherwise."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from incentives.stakes import Announcement
from node.announcing import Announcer
from node.keys import NodeKeys
from node.network import Network
from node.settings import NodeSettings
from node.transactions import Wishes
from sharding.span import Span
from tests.node.records import address, key

MANIFEST, ENDPOINT = b"m" * 32, "wss://node1.test:1"


@dataclass
class PaperStakes:
    """Remembers what was announced."""

    said: list[Announcement] = field(default_factory=list)
    sent: int = 0
    keys: list[str | None] = field(default_factory=list)

    def announcements(self) -> list[Announcement]:
        """The last one of each node."""
        return self.said

    def announce(self, signer: object, *words: object, key: str | None = None) -> str:
        """As Stakes."""
        self.keys.append(key)
        self.sent += 1
        self.say(*words)
        return "sent"

    def say(self, *words: object) -> None:
        """The chain's word."""
        self.said = [Announcement(*words, block=1, log_index=0)]  # type: ignore[arg-type,misc]


def announcer(
    stakes: PaperStakes, endpoint: str = ENDPOINT, ask: str = "0.000001", wishes: Wishes | None = None
) -> Announcer:
    """Of node 1."""
    settings = NodeSettings(model=Path("model"), blocks="auto", memory_megabytes=300, owner=address(1), ask=ask)
    network = cast(Network, SimpleNamespace(stakes=stakes))
    return Announcer(network, settings, cast(NodeKeys, SimpleNamespace(signer=key(1))), MANIFEST, endpoint, wishes)


def spans(*texts: str) -> tuple[Span, ...]:
    """As they are written."""
    return tuple(map(Span.parse, texts))


def test_the_widest_span_is_announced_once() -> None:
    """Each of the three ways; the first word of a node is always said."""
    for first in (
        lambda each: each.exactly(spans("0:1", "2:4")),
        lambda each: each.truly(spans("0:1", "2:4")),
        lambda each: each.at_all(Span(2, 4)),
    ):
        stakes = PaperStakes()
        assert first(announcer(stakes)) == "sent"
        assert first(announcer(stakes)) is None
        assert (stakes.said[0].start, stakes.said[0].end, stakes.said[0].endpoint) == (2, 4, ENDPOINT)


@pytest.mark.parametrize("change", [{"endpoint": "wss://node1.test:2"}, {"ask": "0.000002"}])
def test_another_place_or_price_is_always_announced(change: dict[str, str]) -> None:
    """Whatever else was said."""
    for again in (
        lambda each: each.exactly(spans("2:4")),
        lambda each: each.truly(spans("2:4")),
        lambda each: each.at_all(Span(2, 4)),
    ):
        stakes = PaperStakes()
        announcer(stakes).exactly(spans("2:4"))
        assert again(announcer(stakes, **change)) == "sent"


@pytest.mark.parametrize(
    ("served", "exactly", "truly"),
    [(("2:4",), False, False), (("0:8",), True, False), (("2:4", "5:8"), True, False), (("3:8",), True, True),
     (("0:2", "4:8"), True, True)],
)  # fmt: skip
def test_after_a_move_only_what_is_not_true_any_more_is_corrected(
    served: tuple[str, ...], exactly: bool, truly: bool
) -> None:
    """A transaction for each span more would be thrown away: records tell of them."""
    for wanted, way in ((exactly, Announcer.exactly), (truly, Announcer.truly)):
        stakes = PaperStakes()
        announcer(stakes).exactly(spans("2:4"))
        assert (way(announcer(stakes), spans(*served)) is not None) is wanted


def test_to_be_known_at_all_any_blocks_will_do() -> None:
    """And what no span is, is not believed to be served."""
    stakes = PaperStakes()
    stakes.say(address(1), MANIFEST, 7, 7, 10**12, ENDPOINT)
    assert announcer(stakes).at_all(Span(0, 2)) is None
    assert announcer(stakes).truly(spans("0:8")) == "sent"


def test_a_wish_has_one_name_until_the_chain_shows_it() -> None:
    """The same words in place of the same ones; a node that moves there and back wishes anew each time."""
    stakes = PaperStakes()
    told = announcer(stakes, wishes=Wishes(lambda _name: None))
    for _ in range(2):  # a crash came between, or the chain was asked at an endpoint that lags
        told.exactly(spans("2:4"))
        stakes.said = []
    told.exactly(spans("2:4"))
    told.exactly(spans("4:6"))
    stakes.said = [replace(stakes.said[0], block=7)]
    told.exactly(spans("2:4"))

    first, again, third, moved, back = stakes.keys
    assert first == again == third
    assert len({first, moved, back}) == 3
    announcer(stakes).exactly(spans("0:8"))
    assert stakes.keys[-1] is None
