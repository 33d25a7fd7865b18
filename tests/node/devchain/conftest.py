"""A JSON-RPC client, a signing helper and a few hand-assembled programs for the local chain's tests."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from node.devchain.constants import CHAIN_ID, MNEMONIC
from node.devchain.local import LocalChain
from node.devchain.locate import find_anvil

OPCODES = {
    "STOP": 0x00, "SUB": 0x03, "GT": 0x11, "ISZERO": 0x15, "ADDRESS": 0x30, "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36,
    "CODECOPY": 0x39, "TIMESTAMP": 0x42, "NUMBER": 0x43, "CHAINID": 0x46, "MSTORE": 0x52, "SLOAD": 0x54, "SSTORE": 0x55,
    "JUMP": 0x56, "JUMPI": 0x57, "GAS": 0x5A, "JUMPDEST": 0x5B, "TLOAD": 0x5C, "TSTORE": 0x5D, "MCOPY": 0x5E,
    "PUSH0": 0x5F, "DUP1": 0x80, "SWAP1": 0x90, "LOG0": 0xA0, "LOG1": 0xA1, "LOG2": 0xA2, "CALL": 0xF1,
    "RETURN": 0xF3, "REVERT": 0xFD, "INVALID": 0xFE,
}  # fmt: skip


def assemble(source: str) -> bytes:
    """Mnemonics, hex bytes (as PUSH1..PUSH32), `name:` for a jump target and `@name` to push it."""
    code, targets, holes = bytearray(), {}, []
    for token in source.split():
        if token.endswith(":"):
            targets[token[:-1]] = len(code)
            code.append(OPCODES["JUMPDEST"])
        elif token.startswith("@"):
            holes.append((len(code) + 1, token[1:]))
            code += b"\x60\x00"
        elif token in OPCODES:
            code.append(OPCODES[token])
        else:
            raw = bytes.fromhex(token)
            code += bytes([0x5F + len(raw)]) + raw
    for position, name in holes:
        code[position] = targets[name]
    return bytes(code)


def deployer(runtime: bytes) -> bytes:
    """Creation code that leaves `runtime` (at most 255 bytes) as the contract."""
    head = assemble(f"{len(runtime):02x} DUP1 09 PUSH0 CODECOPY PUSH0 RETURN")
    assert len(head) == 9
    return head + runtime


class RpcFailure(Exception):
    """An error object that came back."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error))
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: str | None = error.get("data")


@dataclass
class Client:
    """Talks to one chain; signs for the usual test accounts."""

    url: str
    accounts: list[LocalAccount] = field(default_factory=list)

    def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """HTTP status and body."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, method: str, *params: Any) -> Any:
        """The result, or RpcFailure."""
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()
        answer = json.loads(self.post(body)[1])
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == 7
        if "error" in answer:
            raise RpcFailure(answer["error"])
        return answer["result"]

    def number(self, method: str, *params: Any) -> int:
        return int(self.call(method, *params), 16)

    def nonce(self, account: int = 0) -> int:
        return self.number("eth_getTransactionCount", self.accounts[account].address, "latest")

    def sign(self, account: int = 0, **fields: Any) -> str:
        """A raw EIP-1559 transaction; a plain transfer of 1 wei to account 1 unless said otherwise."""
        defaults = {
            "chainId": CHAIN_ID,
            "nonce": fields.get("nonce", self.nonce(account)),
            "to": self.accounts[1].address,
            "value": 1,
            "gas": 21_000,
            "maxFeePerGas": 3 * 10**9,
            "maxPriorityFeePerGas": 10**9,
        }
        whole = {name: value for name, value in (defaults | fields).items() if value is not None}
        return "0x" + bytes(self.accounts[account].sign_transaction(whole).raw_transaction).hex()

    def send(self, account: int = 0, **fields: Any) -> dict[str, Any]:
        """The receipt of a transaction."""
        return self.receipt(self.call("eth_sendRawTransaction", self.sign(account, **fields)))

    def receipt(self, transaction_hash: str) -> dict[str, Any]:
        """Anvil answers before it has mined: waits, for at most ten seconds."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = self.call("eth_getTransactionReceipt", transaction_hash)
            if found is not None:
                return dict(found)
            time.sleep(0.01)
        raise AssertionError(f"{transaction_hash} was not mined")

    def deploy(self, source: str) -> str:
        """The address of a contract made of assembled mnemonics."""
        found = self.send(to=None, value=0, gas=3_000_000, data=deployer(assemble(source)))
        assert found["status"] == "0x1"
        return to_checksum_address(found["contractAddress"])

    def run(self, source: str, block: str = "latest") -> int:
        """The word that a program returns when it is tried without being deployed."""
        return self.number("eth_call", {"data": "0x" + assemble(source).hex()}, block)


def _client(url: str) -> Client:
    Account.enable_unaudited_hdwallet_features()
    keys = [Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}") for index in range(3)]
    return Client(url, keys)


@pytest.fixture
def client(chain_snapshot: str) -> Client:
    """A client of each kind of chain; whatever the test does is undone after it."""
    return _client(chain_snapshot)


@pytest.fixture(params=["embedded", "anvil"])
def fresh_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a chain that nobody has used; with anvil left out where there is none."""
    if request.param == "anvil" and find_anvil() is None:
        pytest.skip("no anvil: run `npm install` in contracts/ or put it on the PATH")
    with LocalChain(request.param) as chain:
        yield _client(chain.url)


@pytest.fixture
def embedded(embedded_snapshot: str) -> Client:
    """A client of the embedded chain; whatever the test does is undone after it."""
    return _client(embedded_snapshot)


@pytest.fixture
def failure() -> Callable[..., RpcFailure]:
    """failure(client, method, *params): the error that must come back."""

    def expect(client: Client, method: str, *params: Any) -> RpcFailure:
        with pytest.raises(RpcFailure) as caught:
            client.call(method, *params)
        return caught.value

    return expect
