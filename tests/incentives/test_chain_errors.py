"""Whatever a chain's node answers, or does not, arrives as a leaf of ChainError that says what to do."""

import socket
import threading
from typing import Any

import pytest

from incentives.chain import Contract, Web3Chain, wait_until_up
from incentives.chain_types import Chain
from incentives.errors import (
    CallMismatch,
    ChainError,
    ChainUnavailable,
    Reverted,
    TransactionRefused,
    UnexpectedAnswer,
    WrongChain,
)
from incentives.signing import LocalSigner
from sharding.hashing import keccak256
from tests.incentives.fake_rpc import HttpReply, RpcRefusal, chain_answers, refusing, replying, serving
from verification.addresses import to_address

SIGNER = LocalSigner(keccak256(b"sender"))
TOKEN = Contract.at("Token", to_address(b"\7" * 20))
BLOCK = {
    "number": "0x5",
    "timestamp": "0x64",
    "hash": "0x" + "11" * 32,
    "baseFeePerGas": "0x1",
}


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_chain_that_is_down_is_unavailable(closed_port: int) -> None:
    """The text names the URL and the two remedies."""
    with pytest.raises(ChainUnavailable, match="tally dev up") as caught:
        Web3Chain(f"http://127.0.0.1:{closed_port}")
    assert caught.value.url == f"http://127.0.0.1:{closed_port}"


@pytest.mark.parametrize("url", ["", "127.0.0.1:8545", "ftp://127.0.0.1", "http://", "nonsense", "http://[::1"])
def test_a_url_that_is_none_is_unavailable(url: str) -> None:
    """Not a ValueError of some library."""
    with pytest.raises(ChainUnavailable):
        Web3Chain(url)


def test_a_chain_that_goes_down_later_is_unavailable() -> None:
    """Between two questions."""
    with serving(chain_answers(eth_getBlockByNumber=BLOCK)) as url:
        chain = Web3Chain(url)
        assert chain.head().number == 5
    with pytest.raises(ChainUnavailable):
        chain.head()


def test_a_chain_that_does_not_answer_in_time_is_unavailable() -> None:
    """The reason says how long was waited."""
    with serving(replying(b"{}", pause_s=0.5)) as url, pytest.raises(ChainUnavailable, match=r"within 0\.05 s"):
        Web3Chain(url, timeout_s=0.05)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_http_errors_are_unavailable_with_their_status(status: int) -> None:
    """And without the access key in the URL."""
    with serving(replying(b"no", status)) as url, pytest.raises(ChainUnavailable, match=str(status)) as caught:
        Web3Chain(f"{url}/v3/secretkey")
    assert "secretkey" not in str(caught.value)


def test_a_refused_connection_does_not_show_the_access_key(closed_port: int) -> None:
    """The libraries' own texts quote the whole URL."""
    with pytest.raises(ChainUnavailable) as caught:
        Web3Chain(f"http://user:secretkey@127.0.0.1:{closed_port}/secretkey?k=secretkey")
    assert "secretkey" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe", b"[]", b"5", b"null", b"{}", b'{"jsonrpc": "2.0", "id": 1}']
)
def test_an_answer_that_is_no_json_rpc_is_unexpected(body: bytes) -> None:
    """Some other web server listens there."""
    with serving(replying(body)) as url, pytest.raises(UnexpectedAnswer, match="JSON"):
        Web3Chain(url)


@pytest.mark.parametrize("result", [None, {}, [], "text", "0xzz", True])
def test_a_chain_id_that_is_no_number_is_unexpected(result: object) -> None:
    """Whatever its type."""
    with serving(lambda *_: result) as url, pytest.raises(UnexpectedAnswer):
        Web3Chain(url)


def test_another_chain_than_the_expected_one_is_refused() -> None:
    """With both numbers."""
    with serving(chain_answers()) as url:
        assert Web3Chain(url, expected_chain_id=31337).chain_id == 31337
        with pytest.raises(WrongChain) as caught:
            Web3Chain(url, expected_chain_id=1)
    assert (caught.value.expected, caught.value.actual) == (1, 31337)


@pytest.mark.parametrize("block", [None, 5, "text", [], {}, {**BLOCK, "number": "x"}, {"number": "0x1"}])
def test_a_block_that_is_none_is_unexpected(block: object) -> None:
    """Missing fields and other types."""
    with serving(chain_answers(eth_getBlockByNumber=block)) as url, pytest.raises(UnexpectedAnswer):
        Web3Chain(url).head()


@pytest.mark.parametrize("output", ["0x", "0x12", "0x" + "00" * 31, "nonsense", None, 7, {}])
def test_a_view_that_answers_nonsense_is_unexpected(output: object) -> None:
    """An account without code answers with nothing."""
    answers = chain_answers(eth_call=output, eth_getCode="0x")
    with serving(answers) as url, pytest.raises(UnexpectedAnswer, match=r"Token\.balanceOf"):
        Web3Chain(url).call(TOKEN, "balanceOf", SIGNER.address)


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        ("noSuchView", ()),
        ("balanceOf", ()),
        ("balanceOf", (5,)),
        ("balanceOf", ("vitalik.eth",)),
        ("transfer", (SIGNER.address, 2**256)),
    ],
)
def test_a_call_that_does_not_fit_the_interface_is_a_mismatch(fn: str, args: tuple[Any, ...]) -> None:
    """Found before anything is sent; names are never looked up anywhere."""
    with serving(chain_answers()) as url:
        chain = Web3Chain(url)
        for act in (lambda: chain.call(TOKEN, fn, *args), lambda: chain.send(SIGNER, TOKEN, fn, *args)):
            with pytest.raises(CallMismatch, match=f"Token.{fn}"):
                act()


def test_unknown_events_and_filters_are_a_mismatch() -> None:
    """Only indexed arguments filter."""
    with serving(chain_answers(eth_getBlockByNumber=BLOCK)) as url:
        for name, wanted in (("Nothing", {}), ("Transfer", {"value": 1}), ("Transfer", {"sender": 1})):
            with pytest.raises(CallMismatch):
                Web3Chain(url).events(TOKEN, name, 0, **wanted)


def test_a_revert_is_named_after_the_call() -> None:
    """Contract and function."""
    answers = chain_answers(eth_call=refusing({"code": 3, "message": "execution reverted", "data": "0x"}))
    with serving(answers) as url, pytest.raises(Reverted, match=r"Token\.balanceOf reverted: NoReason"):
        Web3Chain(url).call(TOKEN, "balanceOf", SIGNER.address)


def test_an_offchain_lookup_is_a_plain_revert() -> None:
    """A contract cannot make this machine open a URL of its choice (EIP-3668)."""
    answers = chain_answers(eth_call=refusing({"code": 3, "message": "execution reverted", "data": "0x556f1830"}))
    with serving(answers) as url, pytest.raises(Reverted) as caught:
        Web3Chain(url).call(TOKEN, "balanceOf", SIGNER.address)
    assert caught.value.name == "0x556f1830"


def test_reads_are_repeated_three_times_and_no_more() -> None:
    """Two failures are bridged, three are not."""
    failures = 2
    asked: list[str] = []

    def shaky() -> str:
        asked.append("")
        if len(asked) <= failures:
            raise HttpReply(b"", 503)
        return "0x7a69"

    with serving(chain_answers(eth_chainId=shaky)) as url:
        assert Web3Chain(url).chain_id == 31337
        failures = 3
        asked.clear()
        with pytest.raises(ChainUnavailable):
            Web3Chain(url)
    assert len(asked) == 3


def test_refusals_are_not_repeated() -> None:
    """Only silence is."""
    asked: list[str] = []

    def refuse() -> None:
        asked.append("")
        raise RpcRefusal({"code": -32601, "message": "no such method"})

    with serving(chain_answers(eth_chainId=refuse)) as url, pytest.raises(TransactionRefused, match="no such method"):
        Web3Chain(url)
    assert len(asked) == 1


def test_waiting_ends_with_the_first_answer_or_with_the_deadline(closed_port: int) -> None:
    """A chain that starts late is found."""
    asked: list[str] = []

    def late() -> str:
        asked.append("")
        if len(asked) < 5:
            raise HttpReply(b"", 503)
        return "0x7a69"

    with serving(chain_answers(eth_chainId=late)) as url:
        assert wait_until_up(url, deadline_s=30) == 31337
    with pytest.raises(ChainUnavailable):
        wait_until_up(f"http://127.0.0.1:{closed_port}", deadline_s=0.05)


def test_one_client_serves_many_threads() -> None:
    """Each gets its own answers."""
    wrong: list[int] = []
    with serving(chain_answers(eth_getBalance=lambda address, _: hex(int(address, 16) % 1_000))) as url:
        chain = Web3Chain(url)

        def ask(number: int) -> None:
            for step in range(10):
                asked = 100 * number + step
                if chain.native_balance(to_address(asked.to_bytes(20, "big"))) != asked % 1_000:
                    wrong.append(asked)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_the_client_is_a_chain() -> None:
    """The wrappers need nothing but the protocol."""
    with serving(chain_answers()) as url:
        chain: Chain = Web3Chain(url)
        assert issubclass(ChainUnavailable, ChainError)
        assert chain.url == url


@pytest.mark.parametrize("result", [None, "text", {}, 31337.5])
def test_waiting_does_not_take_nonsense_for_a_chain(result: object) -> None:
    """It ends at once: this is no chain that is still starting."""
    with serving(lambda *_: result) as url, pytest.raises(UnexpectedAnswer, match="chain id"):
        wait_until_up(url, deadline_s=30)
