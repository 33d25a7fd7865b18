"""Several engines in a row, used as one model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sharding.engine import Chunk, Engine


def feed(engines: Sequence[Engine], session: bytes, inputs: Tensor) -> Tensor:
    """Send one chunk through the stages; the last one's output."""
    position = engines[0].length(session)
    for engine in engines:
        [inputs] = engine.forward([Chunk(session, position, inputs)])
    return inputs


def open_all(engines: Sequence[Engine], session: bytes, capacity: int) -> None:
    for engine in engines:
        engine.open(session, capacity)


def greedy(
    engines: Sequence[Engine], prompt: Sequence[int], count: int, *, session: bytes = b"greedy", chunk: int = 1 << 20
) -> list[int]:
    """The next count tokens after the prompt, which is fed in chunks of at most `chunk` tokens."""
    open_all(engines, session, len(prompt) + count)
    for first in range(0, len(prompt), chunk):
        logits = feed(engines, session, torch.tensor(prompt[first : first + chunk]))
    tokens = [lowest_best(logits)]
    while len(tokens) < count:
        tokens.append(lowest_best(feed(engines, session, torch.tensor(tokens[-1:]))))
    for engine in engines:
        engine.close(session)
    return tokens


def lowest_best(logits: Tensor) -> int:
    """The greedy token: the lowest id among equals, which torch's argmax does not promise and integers do have."""
    return int(logits.numpy().argmax())
