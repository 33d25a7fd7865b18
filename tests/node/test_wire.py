"""Frames: one encoding each, and a named error for everything else."""

import struct
import warnings

import numpy as np
import pytest
import torch

from node.errors import (
    FrameTooLarge,
    HiddenTypeMismatch,
    MalformedFrame,
    TokenOutOfVocabulary,
    ValueNotFinite,
    ValueOutOfRange,
)
from node.wire import (
    HEADER_BYTES,
    DType,
    Frame,
    FrameType,
    decode,
    encode,
    frame_to_hidden,
    frame_to_tensor,
    frame_to_token,
    frame_to_tokens,
    hidden_frame,
    sampled_frame,
    tokens_frame,
)

SESSION = bytes(range(16))
MAX_INT32 = 2**31 - 1
HEADER = struct.Struct(">BBBB16sIIIIII")


def raw(
    *, version: int = 1, kind: int = 3, dtype: int = 1, rank: int = 2, first: int = 2, second: int = 3,
    size: int | None = None, payload: bytes = bytes(24),
) -> bytes:  # fmt: skip
    """A frame written by hand, by default a good one."""
    announced = len(payload) if size is None else size
    return HEADER.pack(version, kind, dtype, rank, SESSION, 7, 8, 9, first, second, announced) + payload


def control(size: int) -> Frame:
    return Frame(FrameType.CONTROL, bytes(size))


def test_header_is_written_as_documented() -> None:
    """A frame's bytes are fixed, so that other implementations can be written."""
    data = encode(tokens_frame(SESSION, 1, 2, 3, [5, 256]))

    assert HEADER_BYTES == 44
    assert data.hex() == (
        "01020201" + SESSION.hex() + "00000001" + "00000002" + "00000003" + "00000002" + "00000000" + "00000008"
        "05000000" + "00010000"
    )


def test_hidden_states_survive_bit_for_bit() -> None:
    """Rows, widths and every bit of the values arrive."""
    hidden = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    hidden[0, :3] = torch.tensor([-0.0, 1e-42, 3.4e38])

    received = decode(encode(hidden_frame(SESSION, 1, 2, 3, hidden)))

    assert (received.session, received.epoch, received.step, received.position) == (SESSION, 1, 2, 3)
    assert frame_to_hidden(received, 7, torch.float32).numpy().tobytes() == hidden.numpy().tobytes()


def test_strided_hidden_states_are_sent_in_row_order() -> None:
    """A transposed tensor is another arrangement in memory, not other numbers."""
    hidden = torch.arange(6, dtype=torch.float32).reshape(2, 3).T

    received = frame_to_hidden(decode(encode(hidden_frame(SESSION, 0, 0, 0, hidden))), 2, torch.float32)

    assert torch.equal(received, hidden)


def test_tensors_that_know_autograd_are_accepted() -> None:
    """A parameter that wants gradients is sent as its values."""
    hidden = torch.ones(1, 4, requires_grad=True)

    received = frame_to_hidden(decode(encode(hidden_frame(SESSION, 0, 0, 0, hidden))), 4, torch.float32)

    assert torch.equal(received, torch.ones(1, 4))


def test_tokens_survive() -> None:
    """Ids come back as the engine takes them."""
    received = frame_to_tokens(decode(encode(tokens_frame(SESSION, 0, 0, 0, [0, 31999, 7]))), 32000)

    assert received.dtype is torch.int64
    assert received.tolist() == [0, 31999, 7]


def test_sampled_token_survives() -> None:
    """The last stage's token comes back as a number."""
    assert frame_to_token(decode(encode(sampled_frame(SESSION, 0, 4, 9, 31))), 32) == 31


def test_input_of_either_kind_becomes_a_tensor() -> None:
    """A stage need not know which kind of frame its engine takes."""
    for dtype in (torch.float32, torch.int32):
        hidden = frame_to_tensor(hidden_frame(SESSION, 0, 0, 0, torch.ones((1, 4), dtype=dtype)), 4, 32, dtype)
        tokens = frame_to_tensor(tokens_frame(SESSION, 0, 0, 0, [3]), 4, 32, dtype)

        assert (hidden.dtype, tokens.dtype) == (dtype, torch.int64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_writable_buffers_are_shared_and_read_only_ones_copied(dtype: torch.dtype) -> None:
    """Nothing is copied without need, and torch never holds memory that must not be written."""
    data = encode(hidden_frame(SESSION, 0, 0, 0, torch.ones((1, 4), dtype=dtype)))
    writable = bytearray(data)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shared = frame_to_hidden(decode(writable), 4, dtype)
        copied = frame_to_hidden(decode(data), 4, dtype)
    shared[0, 0] = copied[0, 0] = 9

    kind = "<f4" if dtype is torch.float32 else "<i4"
    assert np.frombuffer(writable, kind, offset=HEADER_BYTES)[0] == 9
    assert np.frombuffer(data, kind, offset=HEADER_BYTES)[0] == 1


def test_whole_hidden_states_survive_at_both_ends() -> None:
    """The exact profile's numbers travel as they are, to the last one on either side."""
    hidden = torch.tensor([[MAX_INT32, -MAX_INT32, 0], [-1, 1, 1 << 16]], dtype=torch.int32)

    received = decode(encode(hidden_frame(SESSION, 1, 2, 3, hidden)))

    assert received.dtype is DType.INT32
    assert torch.equal(frame_to_hidden(received, 3, torch.int32), hidden)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (raw()[: HEADER_BYTES - 1], "43 bytes"),
        (raw(version=0), "version 0"),
        (raw(version=2), "version 2"),
        (raw(kind=0), "type 0"),
        (raw(kind=5), "type 5"),
        (raw(dtype=3), "dtype 3"),
        (raw(dtype=255), "dtype 255"),
        (raw(dtype=0), "carry FLOAT32 or INT32"),
        (raw(kind=2, rank=1, first=6, second=0), "carry INT32"),
        (raw(kind=1), "carry NONE"),
        (raw(rank=0), "unused dims"),
        (raw(rank=1), "unused dims"),
        (raw(rank=1, first=6, second=0), "rank 2, not 1"),
        (raw(rank=3), "rank 3"),
        (raw(rank=9), "rank 9"),
        (raw(kind=2, dtype=2, rank=2), "rank 1, not 2"),
        (raw(kind=1, dtype=0, rank=1, first=24, second=0), "rank 0, not 1"),
        (raw(kind=1, dtype=0, rank=0, first=24, second=0), "unused dims"),
        (raw(first=0, second=0, payload=b""), "empty"),
        (raw(kind=1, dtype=0, rank=0, first=0, second=0, payload=b""), "empty"),
        (raw(first=0, second=6), "takes 0 bytes"),
        (raw(first=3), "takes 36 bytes"),
        (raw(first=2**31, second=2**31 + 3), "takes"),
        (raw(first=2**32 - 1, second=2**32 - 1), "takes"),
        (raw(first=2**30, second=4, payload=bytes(0), size=0), "empty"),
        (raw() + b"\0", "25 follow"),
        (raw()[:-1], "23 follow"),
        (raw(size=23), "24 follow"),
        (raw(size=0), "24 follow"),
    ],
)
def test_malformed_bytes_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    """Short, unknown, contradictory and overflowing headers each have their reason."""
    with pytest.raises(MalformedFrame, match=reason):
        decode(data)


def test_every_truncation_is_refused() -> None:
    """No prefix of a good frame is a frame."""
    data = raw()
    for length in range(len(data)):
        with pytest.raises(MalformedFrame):
            decode(data[:length])


def test_no_header_byte_can_be_changed_into_another_error() -> None:
    """Whatever a header says, decoding gives a frame or a named error."""
    data = raw()
    for at in range(HEADER_BYTES):
        for value in range(256):
            changed = bytearray(data)
            changed[at] = value
            try:
                decode(changed, 1024)
            except (MalformedFrame, FrameTooLarge):
                continue


def test_payload_limit_holds_on_both_sides() -> None:
    """The limit itself passes, one byte more does not."""
    at_limit = encode(control(100), 100)
    assert len(decode(at_limit, 100).payload) == 100

    with pytest.raises(FrameTooLarge) as sending:
        encode(control(101), 100)
    with pytest.raises(FrameTooLarge) as receiving:
        decode(encode(control(101)), 100)

    for error in (sending.value, receiving.value):
        assert (error.size, error.limit) == (101, 100)


def test_announced_size_is_refused_before_it_is_believed() -> None:
    """A length of four gigabytes is too large, whatever follows."""
    with pytest.raises(FrameTooLarge) as error:
        decode(raw(size=2**32 - 1), 1024)

    assert error.value.size == 2**32 - 1


@pytest.mark.parametrize("field", ["epoch", "step", "position"])
@pytest.mark.parametrize("value", [-1, 2**32])
def test_header_fields_out_of_range_are_not_sent(field: str, value: int) -> None:
    """This side does not send what the other side could not read."""
    with pytest.raises(MalformedFrame, match="out of range"):
        encode(Frame(FrameType.CONTROL, b"x", **{field: value}))


@pytest.mark.parametrize("session", [b"", bytes(15), bytes(17)])
def test_session_ids_of_another_length_are_not_sent(session: bytes) -> None:
    """struct would pad or cut them silently."""
    with pytest.raises(MalformedFrame, match="session id"):
        encode(Frame(FrameType.CONTROL, b"x", session=session))


def test_shapes_that_do_not_fit_are_not_sent() -> None:
    """A frame built by hand is checked like a received one."""
    with pytest.raises(MalformedFrame, match="takes"):
        encode(Frame(FrameType.TOKENS, bytes(4), DType.INT32, (2,)))


@pytest.mark.parametrize(
    "hidden",
    [
        torch.ones(4),
        torch.ones(1, 1, 4),
        torch.ones(0, 4),
        torch.ones(1, 4, dtype=torch.float64),
        torch.ones(1, 4).half(),
        torch.ones(1, 4, dtype=torch.int64),
        torch.ones(1, 4, dtype=torch.int16),
    ],
)
def test_tensors_of_another_kind_are_not_wrapped(hidden: torch.Tensor) -> None:
    """Hidden states are never converted silently."""
    with pytest.raises(MalformedFrame):
        hidden_frame(SESSION, 0, 0, 0, hidden)


@pytest.mark.parametrize("tokens", [[], [-1], [2**31]])
def test_impossible_tokens_are_not_wrapped(tokens: list[int]) -> None:
    """No tokens and numbers outside int32 do not leave this side."""
    with pytest.raises(MalformedFrame):
        tokens_frame(SESSION, 0, 0, 0, tokens)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    """One bad number in a frame is found."""
    hidden = torch.zeros(3, 4)
    hidden[2, 1] = value

    with pytest.raises(ValueNotFinite) as error:
        frame_to_hidden(hidden_frame(SESSION, 0, 0, 0, hidden), 4, torch.float32)

    assert (error.value.row, error.value.column) == (2, 1)


def test_the_lowest_int32_is_refused_with_its_place() -> None:
    """-2^31 has no positive twin in Q16; its neighbour is taken."""
    hidden = torch.zeros((3, 4), dtype=torch.int32)
    hidden[2, 1] = -MAX_INT32
    assert frame_to_hidden(hidden_frame(SESSION, 0, 0, 0, hidden), 4, torch.int32)[2, 1] == -MAX_INT32

    hidden[2, 1] = -MAX_INT32 - 1
    with pytest.raises(ValueOutOfRange) as error:
        frame_to_hidden(hidden_frame(SESSION, 0, 0, 0, hidden), 4, torch.int32)

    assert (error.value.row, error.value.column) == (2, 1)


@pytest.mark.parametrize(("sent", "expected"), [(torch.int32, torch.float32), (torch.float32, torch.int32)])
def test_hidden_states_of_another_profile_are_refused(sent: torch.dtype, expected: torch.dtype) -> None:
    """The session's profile says what the bytes are: they are never read as the other kind."""
    frame = hidden_frame(SESSION, 0, 0, 0, torch.ones((2, 4), dtype=sent))

    for read in (lambda: frame_to_hidden(frame, 4, expected), lambda: frame_to_tensor(frame, 4, 32, expected)):
        with pytest.raises(HiddenTypeMismatch) as error:
            read()
        assert (error.value.expected, error.value.found) == tuple(
            "INT32" if dtype is torch.int32 else "FLOAT32" for dtype in (expected, sent)
        )


def test_another_width_is_refused() -> None:
    """Hidden states of another model do not reach the engine."""
    with pytest.raises(MalformedFrame, match="5 wide"):
        frame_to_hidden(hidden_frame(SESSION, 0, 0, 0, torch.zeros(4, 5)), 4, torch.float32)


@pytest.mark.parametrize(("token", "accepted"), [(31, True), (32, False)])
def test_vocabulary_ends_where_it_ends(token: int, accepted: bool) -> None:
    """The last id passes, the one after it does not."""
    frame = tokens_frame(SESSION, 0, 0, 0, [0, token])
    if accepted:
        assert frame_to_tokens(frame, 32).tolist() == [0, token]
    else:
        with pytest.raises(TokenOutOfVocabulary) as error:
            frame_to_tokens(frame, 32)
        assert (error.value.token, error.value.vocab_size) == (token, 32)


def test_negative_tokens_are_refused() -> None:
    """A negative id is no index from the end."""
    data = raw(kind=2, dtype=2, rank=1, first=1, second=0, payload=struct.pack("<i", -1))

    with pytest.raises(TokenOutOfVocabulary):
        frame_to_tokens(decode(data), 32)


def test_frames_of_another_type_are_refused() -> None:
    """Each reader takes its own type only."""
    hidden, tokens = hidden_frame(SESSION, 0, 0, 0, torch.zeros(1, 4)), tokens_frame(SESSION, 0, 0, 0, [1])

    with pytest.raises(MalformedFrame, match="expected tokens"):
        frame_to_tokens(hidden, 32)
    with pytest.raises(MalformedFrame, match="expected hidden"):
        frame_to_hidden(tokens, 4, torch.int32)
    with pytest.raises(MalformedFrame, match="expected tokens"):
        frame_to_tensor(control(1), 4, 32, torch.float32)
    with pytest.raises(MalformedFrame, match="one sampled"):
        frame_to_token(tokens, 32)
