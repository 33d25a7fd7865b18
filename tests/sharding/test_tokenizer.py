"""The tokenizer: text is text, and a stream of tokens reads like the whole."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from sharding.errors import TokenizerError
from sharding.tokenizer import MAX_FILE_BYTES, MAX_HELD_TOKENS, MAX_TEXT_BYTES, MAX_TOKEN, Tokenizer

EOS = "<|endoftext|>"
Ids = st.lists(st.integers(0, 299), max_size=60)


def byte_level() -> tokenizers.Tokenizer:
    """Like Llama 3 and Qwen: every byte is a token, a template puts the end token in front."""
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(["to be or not to be", "größer größte Größe", "the then there"] * 3, trainer)
    return inner


def sentence_piece() -> tokenizers.Tokenizer:
    """Like Llama 2: words begin with a mark, unknown characters fall back to bytes, the first space is dropped."""
    words = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "ab", "é"]
    vocabulary = {word: index for index, word in enumerate(words)}
    inner = tokenizers.Tokenizer(
        models.BPE(vocabulary, [("▁", "a"), ("a", "b")], unk_token="<unk>", byte_fallback=True)
    )
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    inner.add_special_tokens(["<s>"])
    return inner


BYTES, PIECES = Tokenizer(byte_level()), Tokenizer(sentence_piece())


def streamed(tokenizer: Tokenizer, ids: list[int]) -> str:
    stream = tokenizer.stream()
    return "".join([*(stream.push(token) for token in ids), stream.finish()])


@given(st.text(max_size=60))
def test_text_comes_back(text: str) -> None:
    """Every Unicode text survives, at once and token by token."""
    ids = BYTES.encode(text)
    assert BYTES.decode(ids) == streamed(BYTES, ids) == text


@given(st.text(alphabet="ab é€😀", max_size=40))
def test_text_comes_back_from_byte_fallback(text: str) -> None:
    """Also where characters fall apart into byte tokens and the first space is the tokenizer's own."""
    ids = PIECES.encode(text)
    assert PIECES.decode(ids) == streamed(PIECES, ids) == text


@given(Ids)
def test_a_stream_of_any_tokens_reads_like_the_whole(ids: list[int]) -> None:
    """Broken characters included."""
    assert streamed(BYTES, ids) == BYTES.decode(ids)


def test_no_half_character_is_ever_shown() -> None:
    """A four-byte character comes with its last byte, and not before."""
    stream, ids = BYTES.stream(), BYTES.encode("x😀y")
    assert len(ids) == 6
    assert [stream.push(token) for token in ids] == ["x", "", "", "", "😀", "y"]


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    """As the replacement character, once."""
    stream = BYTES.stream()
    assert [stream.push(token) for token in BYTES.encode("€")[:2]] == ["", ""]
    assert stream.finish() == "\ufffd"
    assert stream.finish() == ""


def test_broken_bytes_are_not_held_for_ever() -> None:
    """After MAX_HELD_TOKENS they are let go, so that a stream's memory is bounded."""
    broken = BYTES.encode("€")[1]
    stream = BYTES.stream()
    shown = [stream.push(broken) for _ in range(MAX_HELD_TOKENS)]

    assert not any(shown[:-1])
    assert shown[-1] == "\ufffd" * MAX_HELD_TOKENS


@pytest.mark.parametrize("text", [EOS, f"a{EOS}b", f"{EOS}{EOS}", "<s>"])
def test_special_tokens_in_a_text_are_text(text: str) -> None:
    """A user cannot type control: what looks like it comes back as the characters it is."""
    for tokenizer in (BYTES, PIECES):
        special = {tokenizer._inner.token_to_id(name) for name in (EOS, "<s>")} - {None}
        ids = tokenizer.encode(text)
        assert not special & set(ids)
        assert tokenizer.decode(ids) == text


def test_the_template_is_the_tokenizers_own() -> None:
    """A begin token that the model expects is put there, and not shown."""
    inner = byte_level()
    eos = inner.token_to_id(EOS)
    inner.post_processor = processors.TemplateProcessing(single=f"{EOS} $A", special_tokens=[(EOS, eos)])
    tokenizer = Tokenizer(inner)
    ids = tokenizer.encode("to be")

    assert ids[0] == eos
    assert eos not in ids[1:]
    assert tokenizer.decode(ids) == streamed(tokenizer, ids) == "to be"


@pytest.mark.parametrize("token", [-1, MAX_TOKEN + 1, 1 << 40, True, "1", 1.0])
def test_what_is_no_token_id_is_refused(token: int) -> None:
    """Neither wrapped around nor rounded."""
    with pytest.raises(TokenizerError):
        BYTES.decode([token])
    with pytest.raises(TokenizerError):
        BYTES.stream().push(token)


@pytest.mark.parametrize("token", [BYTES.vocab_size, MAX_TOKEN])
def test_an_id_past_the_vocabulary_has_no_text(token: int) -> None:
    """Models round their vocabulary up; what they never learnt to say reads as nothing and stops no stream."""
    assert BYTES.decode([token]) == ""
    assert streamed(BYTES, [token, *BYTES.encode("to be"), token]) == "to be"


def test_a_lone_surrogate_is_no_text() -> None:
    """It has no UTF-8; the error says where it stands."""
    with pytest.raises(TokenizerError, match="character 2"):
        BYTES.encode("ab\ud800")


def test_a_text_is_bounded_in_bytes() -> None:
    """At the limit it is taken, one byte past it not."""
    assert PIECES.encode("ab" * 10)
    with pytest.raises(TokenizerError, match=str(MAX_TEXT_BYTES + 2)):
        BYTES.encode("é" * (MAX_TEXT_BYTES // 2 + 1))
    with pytest.raises(TokenizerError):
        BYTES.encode("a" * (MAX_TEXT_BYTES + 1))


def test_truncation_and_padding_of_the_file_are_off() -> None:
    """A tokenizer.json that cuts texts short would change what was asked."""
    inner = byte_level()
    inner.enable_truncation(2)
    inner.enable_padding(length=50)
    assert Tokenizer(inner).decode(Tokenizer(inner).encode("to be or not")) == "to be or not"


def test_a_tokenizer_is_read_from_its_folder(tmp_path: Path) -> None:
    """Saved and read it is the same."""
    byte_level().save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.from_folder(tmp_path).encode("to be, größer") == BYTES.encode("to be, größer")


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b'{"model": {"type": "Evil"}}'])
def test_rubbish_is_no_tokenizer(tmp_path: Path, raw: bytes) -> None:
    """Nor is a file that is not there."""
    (tmp_path / "tokenizer.json").write_bytes(raw)
    with pytest.raises(TokenizerError):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError):
        Tokenizer.from_folder(tmp_path)


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """One byte past the limit is refused by its size, before it is parsed."""
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(TokenizerError, match="larger than"):
        Tokenizer.from_folder(tmp_path)
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES)
    with pytest.raises(TokenizerError, match="no tokenizer"):
        Tokenizer.from_folder(tmp_path)
