"""The error tree is the one that is drawn, and leaves carry their numbers."""

import inspect
import re

from sharding import errors
from sharding.errors import CacheFull, ShardingError, TokenOutOfRange


def test_the_drawing_names_every_error() -> None:
    """Nothing is missing from the module's drawing and nothing in it is made up."""
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, ShardingError)
    }  # fmt: skip
    drawn = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", errors.__doc__ or ""))

    assert drawn == classes


def test_leaves_carry_their_numbers() -> None:
    """Whoever catches an error need not parse its text."""
    full, token = CacheFull(b"s", 9, 8), TokenOutOfRange(b"t", -1, 50)
    assert (full.session, full.wanted, full.limit) == (b"s", 9, 8)
    assert (token.session, token.token, token.vocab_size) == (b"t", -1, 50)
