"""What the embedded chain answers instead of a result; each is one JSON-RPC error object.

RpcError
├── ParseError               -32700  the body is not JSON
├── InvalidRequest           -32600  JSON, but not a request
├── MethodNotFound           -32601
├── InvalidParams            -32602
├── Reverted                      3  the contract said no; `data` carries its reason
├── ExecutionFailed          -32603  out of gas, invalid opcode and the like
└── Refused                  -32003  a transaction that cannot enter a block
    └── GasRefused           -32000  its gas limit is too low or past the block's
"""

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

ERROR_STRING_SELECTOR = bytes.fromhex("08c379a0")


class RpcError(Exception):
    """An answer that is an error; code and optional data as in JSON-RPC 2.0."""

    code = -32603

    def __init__(self, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def as_object(self) -> dict[str, object]:
        """The `error` member of the response."""
        found: dict[str, object] = {"code": self.code, "message": self.message}
        if self.data is not None:
            found["data"] = self.data
        return found


class ParseError(RpcError):
    code = -32700


class InvalidRequest(RpcError):
    code = -32600


class MethodNotFound(RpcError):
    code = -32601

    def __init__(self, method: str) -> None:
        super().__init__(f"Method not found: {method[:64]}")


class InvalidParams(RpcError):
    code = -32602


class Reverted(RpcError):
    """The contract reverted; `data` is what it returned, as hex."""

    code = 3

    def __init__(self, output: bytes) -> None:
        reason = _reason(output)
        super().__init__("execution reverted" + (f": {reason}" if reason else ""), "0x" + output.hex())
        self.output = output


class ExecutionFailed(RpcError):
    """The EVM stopped without a reason from the contract."""


class Refused(RpcError):
    code = -32003


class GasRefused(Refused):
    code = -32000


def _reason(output: bytes) -> str:
    if output[:4] != ERROR_STRING_SELECTOR:
        return f"custom error 0x{output.hex()}" if len(output) >= 4 else ""
    try:
        return str(abi_decode(["string"], output[4:])[0])
    except (DecodingError, UnicodeDecodeError):
        return ""
