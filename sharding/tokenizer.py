"""Text to token ids and back, from a model's tokenizer.json.

What a user types is text and never control: "<|endoftext|>" in a prompt becomes the tokens of its characters. Only
what the tokenizer's own template puts around a text (a begin token, where the model has one) is special.
"""

from collections.abc import Sequence
from pathlib import Path

import tokenizers

from sharding.errors import TokenizerError

TOKENIZER_FILE = "tokenizer.json"
MAX_FILE_BYTES = 64 << 20  # the largest in common use have 35 million
MAX_TEXT_BYTES = 4 << 20
MAX_TOKEN = (1 << 21) - 1  # the largest vocabulary a spec allows
MAX_HELD_TOKENS = 16  # a character has at most four bytes; what is longer broken will not mend
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Tokenizer:
    """Read with from_folder."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        self._inner = inner
        self._inner.encode_special_tokens = True
        self._inner.no_truncation()
        self._inner.no_padding()
        self.vocab_size = inner.get_vocab_size(with_added_tokens=True)

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """Raises TokenizerError where tokenizer.json is missing, larger than MAX_FILE_BYTES or malformed."""
        path = Path(folder) / TOKENIZER_FILE
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise TokenizerError(f"{TOKENIZER_FILE} cannot be read: {error.strerror}") from error
        if len(raw) > MAX_FILE_BYTES:
            raise TokenizerError(f"{TOKENIZER_FILE} is larger than {MAX_FILE_BYTES} bytes")
        try:
            return cls(tokenizers.Tokenizer.from_buffer(raw))
        except Exception as error:  # the library raises bare Exception on malformed content
            raise TokenizerError(f"{TOKENIZER_FILE} is no tokenizer: {str(error)[:200]}") from error

    def encode(self, text: str) -> list[int]:
        """Raises TokenizerError on a text that is no Unicode or longer than MAX_TEXT_BYTES."""
        try:
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise TokenizerError(f"the text is no Unicode at character {error.start}") from error
        if size > MAX_TEXT_BYTES:
            raise TokenizerError(f"a text of {size} bytes: at most {MAX_TEXT_BYTES} are taken")
        return list(self._inner.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text without special tokens; bytes that form no character become U+FFFD.

        An id between the tokenizer's vocabulary and the model's, which may be rounded up, has no text.
        Raises TokenizerError outside [0, MAX_TOKEN].
        """
        for token in ids:
            self._check(token)
        return str(self._inner.decode(list(ids), skip_special_tokens=True))

    def stream(self) -> "TextStream":
        return TextStream(self)

    def _check(self, token: int) -> None:
        if type(token) is not int or not 0 <= token <= MAX_TOKEN:
            raise TokenizerError(f"token {token!r} is outside [0, {MAX_TOKEN}]")


class TextStream:
    """Decodes token by token: what push has returned, with finish at the end, is what decode gives for all at once.

    A token may end within a character, and some tokenizers treat the first token of a text in a way of its own; so
    each piece is decoded after the tokens of the piece before, and held back while its last character is incomplete.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._before: list[int] = []
        self._held: list[int] = []

    def push(self, token: int) -> str:
        """The characters this token completes, often none. Raises TokenizerError."""
        self._tokenizer._check(token)
        self._held.append(token)
        piece = self._piece()
        if not piece or (piece.endswith(_REPLACEMENT) and len(self._held) < MAX_HELD_TOKENS):
            return ""
        return self._release(piece)

    def finish(self) -> str:
        """What is still held back, an incomplete character as U+FFFD."""
        return self._release(self._piece())

    def _piece(self) -> str:
        before = self._tokenizer.decode(self._before)
        return self._tokenizer.decode(self._before + self._held)[len(before) :]

    def _release(self, piece: str) -> str:
        self._before, self._held = self._held, []
        return piece
