"""Prompts that begin alike share pages: one client's own, by names that a first stage checks against the tokens."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.admission import Admitted
from node.messages import MAX_PREFIX_KEYS
from node.prefixes import Prefixes, prefix_keys
from sharding.paging import PAGE_POSITIONS
from tests.node.admitted import make_admitted, make_kept
from tests.node.money_fakes import NODES

PAGES = 4
LONG = tuple(range(1, 261))
"""Four pages and four tokens."""


class FakeRunner:
    """The pages that are remembered, by their keys."""

    def __init__(self) -> None:
        self.engine = SimpleNamespace(pages=SimpleNamespace(total=PAGES))
        self.known: set[bytes] = set()
        self.lengths: dict[bytes, int] = {}

    def length(self, session: bytes) -> int:
        return self.lengths[session]

    def adopt(self, session: bytes, keys: Sequence[bytes]) -> int:
        count = next((place for place, key in enumerate(keys) if key not in self.known), len(keys))
        self.lengths[session] = count * PAGE_POSITIONS
        return self.lengths[session]

    def publish(self, session: bytes, keys: Sequence[bytes]) -> None:
        assert len(keys) <= self.lengths[session] // PAGE_POSITIONS
        self.known |= set(keys)


class FakeBatcher:
    """Calls at once."""

    def __init__(self) -> None:
        self.runner = FakeRunner()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


class Stage:
    """One stage's memory of prompts, used as the server uses it."""

    def __init__(self) -> None:
        self.batcher = FakeBatcher()
        self.prefixes = Prefixes(cast("Any", self.batcher))

    async def finish(self, tokens: Sequence[int], admitted: Admitted, keys: Sequence[bytes] | None = None) -> None:
        """A session of these tokens ends; the client names its pages, rightly unless said otherwise."""
        kept = make_kept(admitted)
        kept.tokens += tokens if admitted.is_first else []
        self.batcher.runner.lengths[kept.name] = len(tokens)
        await self.prefixes.publish(kept, admitted, prefix_keys(tokens) if keys is None else keys)

    async def begin(self, tokens: Sequence[int], admitted: Admitted) -> list[int]:
        """The tokens of the pages that the next session begins with."""
        return await self.prefixes.adopt(make_kept(admitted), admitted, prefix_keys(tokens))

    def positions(self, admitted: Admitted) -> int:
        """How many the next session begins with."""
        return self.batcher.runner.lengths[make_kept(admitted).name]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def asking(tokens: Sequence[int], **changes: Any) -> Admitted:
    """A session with this prompt."""
    return make_admitted(prompt_tokens=len(tokens), capacity=len(tokens) + 50, **changes)


def test_full_pages_have_names() -> None:
    """One at 64 tokens, none at 63, and a part of a page has none."""
    assert [len(prefix_keys(LONG[:count])) for count in (0, 63, 64, 127, 128, 260)] == [0, 0, 1, 1, 2, 4]


def test_a_name_is_for_all_tokens_up_to_the_pages_end() -> None:
    """Longer prompts keep the names of their beginnings; one other token changes its page's and all after it."""
    names = prefix_keys(LONG)
    assert prefix_keys(LONG[:200]) == names[:3]
    changed = prefix_keys((*LONG[:127], 999, *LONG[128:]))
    assert [one == other for one, other in zip(names, changed, strict=True)] == [True, False, False, False]
    assert len(set(prefix_keys([7] * 256))) == 4


def test_a_very_long_prompt_has_no_more_names_than_a_message_takes() -> None:
    """256 pages are named, a 257th is not."""
    longest = MAX_PREFIX_KEYS * PAGE_POSITIONS
    assert [len(prefix_keys([1] * count)) for count in (longest - 1, longest, longest + 64)] == [255, 256, 256]


async def test_the_next_session_begins_with_what_the_first_one_computed(stage: Stage) -> None:
    """All full pages, and on a first stage their tokens, to which the route commits."""
    await stage.finish(LONG, asking(LONG))
    assert await stage.begin(LONG, asking(LONG)) == list(LONG[:256])
    assert stage.positions(asking(LONG)) == 256


async def test_only_what_is_alike_is_reused(stage: Stage) -> None:
    """Two pages of four, then the prompts part."""
    other = (*LONG[:130], *[0] * 130)
    await stage.finish(LONG, asking(LONG))
    assert await stage.begin(other, asking(other)) == list(LONG[:128])


@pytest.mark.parametrize(("prompt", "reused"), [(64, 0), (65, 64), (128, 64), (129, 128)])
async def test_the_last_token_of_a_prompt_is_always_computed(stage: Stage, prompt: int, reused: int) -> None:
    """Or nothing would draw the token after it: of exactly 64 tokens nothing is reused, of 65 a page."""
    tokens = LONG[:prompt]
    await stage.finish(LONG, asking(LONG))
    assert await stage.begin(tokens, asking(tokens)) == list(tokens[:reused])


@pytest.mark.parametrize("prompt", [63, 64, 65, 128])
@pytest.mark.parametrize("place", [0, 1])
async def test_a_session_of_any_length_can_be_remembered(stage: Stage, prompt: int, place: int) -> None:
    """Its prompt and what was generated after it; pages that end behind the prompt are not named."""
    admitted = asking(LONG[:prompt], stage=place)
    await stage.finish(LONG[: prompt + 20], admitted, prefix_keys(LONG[:prompt]))
    assert len(stage.batcher.runner.known) == (prompt - 1) // 64


async def test_a_prompt_that_was_computed_in_part_is_remembered_in_part(stage: Stage) -> None:
    """A route that was lost after 130 positions leaves two pages."""
    await stage.finish(LONG[:130], asking(LONG), prefix_keys(LONG))
    assert await stage.begin(LONG, asking(LONG)) == list(LONG[:128])


async def test_another_clients_prompt_is_nobodys_business(stage: Stage) -> None:
    """The same tokens by another key find nothing: whether they were ever asked cannot be told."""
    await stage.finish(LONG, asking(LONG))
    assert await stage.begin(LONG, asking(LONG, client=NODES[0].address)) == []
    assert await stage.begin(LONG, asking(LONG)) != []


async def test_a_first_stage_believes_no_name_that_is_not_the_tokens(stage: Stage) -> None:
    """What comes after the first wrong name is not taken either."""
    names = prefix_keys(LONG)
    lie = (names[0], b"\x66" * 32, names[2])
    await stage.finish(LONG, asking(LONG), lie)
    assert len(stage.batcher.runner.known) == 1
    assert await stage.begin(LONG, asking(LONG)) == list(LONG[:64])


async def test_a_later_stage_takes_the_names_for_what_they_are(stage: Stage) -> None:
    """It sees no tokens; whom a wrong name would hurt is the client that gave it."""
    admitted = asking(LONG, stage=1)
    await stage.finish(LONG, admitted)
    assert await stage.begin(LONG, admitted) == []
    assert stage.positions(admitted) == 256


async def test_a_first_stage_reuses_no_page_whose_tokens_it_forgot(stage: Stage) -> None:
    """It remembers those of twice its pages: the oldest two of ten are gone, though the engine may have the pages still."""
    prompts = [tuple([number] * 130) for number in range(5)]
    for tokens in prompts:
        await stage.finish(tokens, asking(tokens))
    assert [len(await stage.begin(tokens, asking(tokens))) for tokens in prompts] == [0, 128, 128, 128, 128]
    assert len(stage.batcher.runner.known) == 10


async def test_a_first_stage_reuses_no_page_that_the_engine_forgot(stage: Stage) -> None:
    """Tokens without a page are none to begin with."""
    await stage.finish(LONG, asking(LONG))
    stage.batcher.runner.known.pop()
    assert len(await stage.begin(LONG, asking(LONG))) == stage.positions(asking(LONG)) < 256
