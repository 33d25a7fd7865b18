"""Errors that end a client's request.

ClientError
├── PriceTooHigh   the cheapest route is past the client's limit
├── PromptTooLong  more tokens than the model's context holds, or none at all
└── SessionFailed  a generation ended early; carries what was generated
"""

from incentives.units import format_amount
from node.errors import NodeError


class ClientError(NodeError):
    """A request that could not be answered in full."""


class PromptTooLong(ClientError):
    """The prompt and the tokens asked for do not fit the model's context."""

    def __init__(self, prompt_tokens: int, max_tokens: int, limit: int) -> None:
        if prompt_tokens and max_tokens > 0:
            text = (
                f"{prompt_tokens} prompt tokens and {max_tokens} new ones are past the context of {limit};"
                " shorten the prompt or ask for fewer tokens"
            )
        else:
            text = f"{prompt_tokens} prompt tokens and {max_tokens} new ones: there must be at least one of each"
        super().__init__(text)
        self.prompt_tokens = prompt_tokens
        self.max_tokens = max_tokens
        self.limit = limit


class PriceTooHigh(ClientError):
    """The cheapest route costs more than the client allows; nothing was locked."""

    def __init__(self, price: int, limit: int) -> None:
        super().__init__(
            f"the cheapest route takes {format_amount(price)} per token, the limit is {format_amount(limit)};"
            " wait for a cheaper node or raise --max-price"
        )
        self.price = price
        self.limit = limit


class SessionFailed(ClientError):
    """A generation ended early; what was generated is in `generated`."""

    def __init__(
        self, code: str, message: str, stage: int, node: str, generated: tuple[int, ...] = (), retry_after_ms: int = 0
    ) -> None:
        super().__init__(f"stage {stage} ({node}) ended the session: {code}: {message}")
        self.code = code
        self.message = message
        self.stage = stage
        self.node = node
        self.generated = generated
        self.retry_after_ms = retry_after_ms
