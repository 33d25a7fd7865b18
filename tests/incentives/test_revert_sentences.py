"""Every refusal of a contract is told to the user as a sentence that says what to do."""

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from incentives.artifacts import CONTRACT_NAMES, canonical_signature, error_table, load_artifact, selector
from incentives.chain import Web3Chain
from incentives.errors import Reverted
from incentives.revert_sentences import MAX_TIME, SENTENCES, UNKNOWN, sentence
from incentives.rpc_errors import ErrorTable
from incentives.units import ONE
from tests.incentives.fake_rpc import chain_answers, refusing, serving
from tests.incentives.suite import OWNER, STRANGER, Suite
from tests.incentives.test_chain_errors import SIGNER, TOKEN

SAMPLES = {"address": STRANGER.address, "bytes32": b"\7" * 32, "string": "no", "bool": True, "bytes": b"\7"}


def shipped() -> list[tuple[str, str]]:
    """Contract and signature of every error that a shipped contract can give."""
    entries = [(name, entry) for name in CONTRACT_NAMES for entry in load_artifact(name).abi]
    return [(name, canonical_signature(entry)) for name, entry in entries if entry["type"] == "error"]


@pytest.mark.parametrize(("contract", "signature"), shipped())
def test_no_error_of_a_shipped_contract_is_without_a_sentence(contract: str, signature: str) -> None:
    """Its template takes the arguments that the error has, decoded from what the chain would answer."""
    spec = error_table()[selector(signature)]
    values = [SAMPLES.get(kind, 5) for kind in spec.types]
    error = ErrorTable().decode(selector(signature) + encode(spec.types, values))

    assert spec.name in SENTENCES, f"{contract}: write a sentence for {signature}"
    assert error.sentence not in ("", UNKNOWN)
    assert "{" not in error.sentence


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_a_sentence_says_what_is_wrong_and_what_to_do(name: str) -> None:
    """Two halves with a colon between; no full stop, since it ends a message."""
    what, colon, todo = SENTENCES[name].partition(": ")
    assert what
    assert colon
    assert todo
    assert not todo.endswith(".")
    assert len(todo.split()) >= 2


def test_amounts_and_times_are_written_for_people() -> None:
    """In whole tokens, and in UTC."""
    assert sentence("StakeTooLow", (ONE // 2, 100 * ONE)).startswith(
        "0.5 tokens would be bonded, the least is 100 tokens:"
    )
    assert "2023-11-14 22:13:20 UTC" in sentence("ExitNotReady", (1_700_000_000,))
    assert "9999-12-31 23:59:59 UTC" in sentence("ExitNotReady", (MAX_TIME,))
    assert "the end of time" in sentence("ExitNotReady", (MAX_TIME + 1,))


def test_an_unknown_error_has_a_sentence_too() -> None:
    """As has a known one with nonsense behind it."""
    assert sentence("0x12345678", (b"",)) == UNKNOWN
    assert sentence("StakeTooLow", ()) == UNKNOWN
    assert ErrorTable().decode(b"\1\2\3\4").sentence == UNKNOWN
    assert ErrorTable().decode(selector("StakeTooLow(uint256,uint256)") + b"\1").sentence == UNKNOWN


@given(st.sampled_from(sorted(SENTENCES)), st.lists(st.one_of(st.integers(), st.binary(), st.text()), max_size=4))
def test_no_arguments_break_a_sentence(name: str, arguments: list[object]) -> None:
    """A hostile contract chooses them."""
    assert isinstance(sentence(name, arguments), str)


def test_the_sentence_reaches_the_user(suite: Suite) -> None:
    """In the text of the error that a call raises."""
    with pytest.raises(Reverted, match="0 tokens, 5 tokens is needed: send tokens there first") as caught:
        suite.token.transfer(STRANGER, OWNER.address, 5 * ONE)
    assert caught.value.sentence in str(caught.value)


def test_a_revert_without_a_reason_has_a_sentence() -> None:
    """The client's own."""
    answers = chain_answers(eth_call=refusing({"code": 3, "message": "execution reverted", "data": "0x"}))
    with serving(answers) as url, pytest.raises(Reverted, match="no reason was given"):
        Web3Chain(url).call(TOKEN, "balanceOf", SIGNER.address)
