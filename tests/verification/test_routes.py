"""Commitments of a route bind what they name and hide what they must."""

from dataclasses import replace

import pytest

from sharding.merkle import merkle_root
from sharding.sampling import SamplingParams
from verification.routes import profile_id, prompt_root, sampler_commitment
from verification.work import session_work, work_leaf

PARAMS = SamplingParams(temperature=0.8, top_k=40, top_p=0.9, seed=7)
SALT = b"s" * 32


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.81}, {"top_k": 41}, {"top_p": 0.91}, {"seed": 8}],
    ids=lambda change: next(iter(change)),
)
def test_the_sampler_commitment_binds_every_parameter(change: dict[str, float]) -> None:
    """A sampler that changes one parameter or the seed no longer matches the route."""
    assert sampler_commitment(replace(PARAMS, **change)) != sampler_commitment(PARAMS)  # type: ignore[arg-type]


def test_the_prompt_root_depends_on_tokens_order_and_salt() -> None:
    """Equal prompts under two salts have unrelated roots, so a short prompt cannot be looked up."""
    root = prompt_root(SALT, [1, 2, 3])

    assert root == prompt_root(SALT, [1, 2, 3])
    assert root not in (prompt_root(SALT, [3, 2, 1]), prompt_root(SALT, [1, 2]), prompt_root(b"t" * 32, [1, 2, 3]))


def test_work_names_route_amount_and_positions() -> None:
    """A voucher for one route's work cannot stand for another's, for more of it, or for another price."""
    assert session_work(b"r" * 32, 9, 5) == merkle_root([work_leaf(b"r" * 32, 9, 5)])
    others = {session_work(b"r" * 32, 9, 6), session_work(b"q" * 32, 9, 5), session_work(b"r" * 32, 8, 5)}
    assert len(others | {session_work(b"r" * 32, 9, 5)}) == 4
    assert len(work_leaf(b"r" * 32, 2**256 - 1, 5)) == 96  # as a contract reads it: three words
    with pytest.raises(OverflowError):
        work_leaf(b"r" * 32, 2**256, 5)


def test_profiles_have_distinct_ids() -> None:
    """The float and the exact profile never share an id."""
    assert profile_id("float32") != profile_id("exact-1")
