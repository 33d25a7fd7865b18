"""What one server may answer."""

import json

import pytest

from incentives.errors import ChainUnavailable, UnexpectedAnswer
from incentives.json_rpc import HttpRpc
from incentives.rpc_errors import ErrorTable
from tests.incentives.fake_rpc import chain_answers, replying, serving


def test_an_answer_at_the_limit_is_read_and_one_past_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it comes in parts."""
    monkeypatch.setattr("incentives.json_rpc.MAX_ANSWER_BYTES", 1_000)
    monkeypatch.setattr("incentives.json_rpc.PART_BYTES", 300)
    for length in (1_000, 1_001):
        empty = len(json.dumps({"result": ""}))
        body = json.dumps({"result": "x" * (length - empty)}).encode()
        with serving(replying(body)) as url:
            rpc = HttpRpc(url, 5.0, ErrorTable())
            if length == 1_000:
                assert len(rpc.ask("eth_call", [])) == length - empty
            else:
                with pytest.raises(UnexpectedAnswer, match="longer than 1000"):
                    rpc.ask("eth_call", [])


def test_bytes_among_the_parameters_are_written_as_hexadecimal_text() -> None:
    """As are those inside other values; what is no JSON is a mistake of the caller."""
    with serving(chain_answers(echo=lambda *params: list(params))) as url:
        rpc = HttpRpc(url, 5.0, ErrorTable())
        assert rpc.ask("echo", [b"\1\2", {"data": b""}, 5]) == ["0x0102", {"data": "0x"}, 5]
        with pytest.raises(TypeError, match="object is not JSON"):
            rpc.ask("echo", [object()])


def test_null_is_an_answer() -> None:
    """A transaction that nobody knows."""
    with serving(chain_answers(find=None)) as url:
        assert HttpRpc(url, 5.0, ErrorTable()).ask("find", []) is None


def test_an_answer_that_drips_is_given_up_when_its_time_is_over() -> None:
    """A byte before each silence would end: no silence is too long, and the answer never is there."""
    with serving(replying(b'{"result": "' + b"x" * 1_000, drip_s=0.02)) as url:
        rpc = HttpRpc(url, 0.3, ErrorTable())
        with pytest.raises(ChainUnavailable, match=r"no answer within 0\.3 s"):
            rpc.ask("eth_call", [])
