"""Spoilt messages: always another message, and never a tensor that only a second computation could tell from a good one."""

import pytest
import torch

from node.errors import MalformedFrame, NodeError
from node.wire import (
    HEADER_BYTES,
    Frame,
    FrameType,
    decode,
    encode,
    frame_to_tensor,
    hidden_frame,
    sampled_frame,
    tokens_frame,
)
from tests.faults.spoiling import flipped, frame_type, garbage

SESSION = bytes(range(16))
TENSORS = {
    "hidden": hidden_frame(SESSION, 0, 3, 9, torch.arange(64, dtype=torch.int32).reshape(2, 32)),
    "hidden float": hidden_frame(SESSION, 0, 3, 9, torch.ones(2, 32)),
    "tokens": tokens_frame(SESSION, 0, 3, 9, [1, 2, 3]),
    "sampled": sampled_frame(SESSION, 0, 3, 9, 5),
}
CONTROL = encode(Frame(FrameType.CONTROL, b"\x81\xa4type\xa5close", session=SESSION))


@pytest.mark.parametrize("seed", range(100))
def test_one_bit_differs_and_in_tensors_only_of_the_header(seed: int) -> None:
    """The values stay what they were."""
    for data in (*map(encode, TENSORS.values()), CONTROL, b"a step of a handshake"):
        spoilt = flipped(data, seed)

        assert sum((left ^ right).bit_count() for left, right in zip(data, spoilt, strict=True)) == 1
        assert frame_type(data) in (None, FrameType.CONTROL) or spoilt[HEADER_BYTES:] == data[HEADER_BYTES:]


@pytest.mark.parametrize("name", TENSORS)
def test_garbage_is_never_taken_for_a_tensor(name: str) -> None:
    """A hundred of each: each is refused by name, at the frame or at its values."""
    frame = TENSORS[name]
    dtype = torch.float32 if name == "hidden float" else torch.int32
    for seed in range(100):
        spoilt = garbage(encode(frame), seed)
        with pytest.raises(NodeError):
            frame_to_tensor(decode(spoilt), 32, 96, dtype)


def test_garbage_for_a_message_is_cut_longer_or_random() -> None:
    """And never the message itself."""
    spoilt = {garbage(CONTROL, seed) for seed in range(100)}

    assert CONTROL not in spoilt
    assert any(len(each) > len(CONTROL) for each in spoilt)
    with pytest.raises(MalformedFrame):
        decode(min(spoilt, key=len))
