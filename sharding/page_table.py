"""From a session's positions to their places in a cache of pages."""

import torch
from torch import Tensor

from sharding.paging import PAGE_POSITIONS


def places_in(pages: Tensor, start: int, end: int) -> Tensor:
    """Where positions start to end - 1 of a session lie, int64, by the numbers of its pages."""
    positions = torch.arange(start, end)
    return pages[positions // PAGE_POSITIONS].to(torch.int64) * PAGE_POSITIONS + positions % PAGE_POSITIONS
