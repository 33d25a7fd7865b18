"""The deployment file is read strictly and replaced in one step."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from incentives.deployment import (
    CONTRACTS,
    MAX_FILE_BYTES,
    ContractRecord,
    Deployment,
    SuiteParams,
    default_path,
)
from incentives.errors import DeploymentError
from sharding.hashing import keccak256
from verification.addresses import to_address
from verification.typed_data import Domain


def record(number: int) -> ContractRecord:
    """Some contract."""
    return ContractRecord(to_address(bytes([number]) * 20), keccak256(bytes([number])), number)


GOOD = Deployment(31337, *map(record, range(1, 1 + len(CONTRACTS))), SuiteParams(min_stake=2**96 - 1))

OTHER = Deployment(31337, *map(record, range(20, 20 + len(CONTRACTS))), SuiteParams())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file."""
    GOOD.write(tmp_path / "31337.json")
    return tmp_path / "31337.json"


def test_a_deployment_is_read_back_as_it_was_written(path: Path) -> None:
    """Amounts past 2^53 included."""
    assert Deployment.read(path) == GOOD
    assert [file.name for file in path.parent.iterdir()] == ["31337.json"]


def test_writing_replaces_the_file_and_makes_its_folder(tmp_path: Path) -> None:
    """The usual place does not exist at first."""
    path = default_path(31337, tmp_path / "deployments")
    OTHER.write(path)
    GOOD.write(path)
    assert Deployment.read(path) == GOOD


def test_a_write_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("incentives.deployment.os.fsync", full)
    with pytest.raises(DeploymentError, match="No space"):
        OTHER.write(path)
    assert Deployment.read(path) == GOOD
    assert len(list(path.parent.iterdir())) == 1


def test_names_lead_to_records_contracts_and_domains() -> None:
    """By the name in the source."""
    assert GOOD.record("Channels") == GOOD.channels
    assert GOOD.contract("Court").address == GOOD.court.address
    assert GOOD.contract("Court").name == "Court"
    assert GOOD.domain("Stakes") == Domain(31337, GOOD.stakes.address)


def dropped(*keys: str) -> Callable[[dict[str, Any]], None]:
    """Remove a field."""

    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def put(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    """Set a field."""

    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dropped("chainId"), "chainId"),
        (dropped("contracts", "Court"), "Court"),
        (dropped("contracts", "Court", "codeHash"), "codeHash"),
        (dropped("params", "closeDelay"), "closeDelay"),
        (dropped("params", "maturity"), "maturity"),
        (put(1, "owner"), "owner"),
        (put({}, "contracts", "Reputation"), "Reputation"),
        (dropped("contracts", "Evidence"), "Evidence"),
        (dropped("params", "clocks"), "clocks"),
        (put(2**40, "params", "clocks", "epoch"), "epoch"),
        (dropped("params", "clocks", "halfLife"), "halfLife"),
        (put(3_001, "params", "scores", "capacity"), "capacity"),
        (put(5, "params", "scores", "demandBond"), "demandBond"),
        (put(str(2**96), "params", "scores", "reward"), "reward"),
        (dropped("params", "scores", "creditUnit"), "creditUnit"),
        (put(2**32, "params", "scores", "creditCap"), "creditCap"),
        (put(1, "contracts", "Token", "abi"), "abi"),
        (put([], "contracts"), "contracts"),
        (put("0x" + "1" * 40, "contracts", "Stakes"), "Stakes"),
        (put("31337", "chainId"), "chainId"),
        (put(True, "chainId"), "chainId"),
        (put(-1, "chainId"), "chainId"),
        (put(31337.0, "chainId"), "chainId"),
        (put(2**63, "chainId"), "chainId"),
        (put("0x12", "contracts", "Token", "address"), "address"),
        (put(5, "contracts", "Token", "address"), "address"),
        (put("0x5FbDB2315678afecb367f032d93F642f64180aA3", "contracts", "Token", "address"), "address"),
        (put("0x" + "1" * 63, "contracts", "Token", "codeHash"), "codeHash"),
        (put("1" * 64, "contracts", "Token", "codeHash"), "codeHash"),
        (put(None, "contracts", "Token", "codeHash"), "codeHash"),
        (put(-1, "contracts", "Token", "block"), "block"),
        (put(1_000, "params", "minStake"), "minStake"),
        (put(str(2**96), "params", "minStake"), "minStake"),
        (put("1e3", "params", "minStake"), "minStake"),
        (put("٣", "params", "minStake"), "minStake"),
        (put("60", "params", "unbonding"), "unbonding"),
        (dropped("params", "maxFee"), "maxFee"),
        (put(20, "params", "maxFee"), "maxFee"),
        (put(20, "params", "bond"), "bond"),
        (dropped("params", "disputeDelay"), "disputeDelay"),
        (put("8", "params", "answerTime"), "answerTime"),
        (put(2**40, "params", "proofTime"), "proofTime"),
        (dropped("contracts", "Judge"), "Judge"),
        (dropped("contracts", "Jury"), "Jury"),
        (dropped("params", "jury"), "jury"),
        (dropped("params", "jury", "lag"), "lag"),
        (put(5, "params", "jury", "fee"), "fee"),
        (put("8", "params", "jury", "commit"), "commit"),
        (put(2**32, "params", "jury", "lag"), "lag"),
        (put(2**40, "params", "unbonding"), "unbonding"),
    ],
)
def test_a_file_with_one_fault_is_refused_and_the_field_named(
    path: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    """Missing, unknown, of another type or out of range; the text says what to do."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DeploymentError, match=named) as caught:
        Deployment.read(path)
    assert "tally contracts deploy" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"chainId": 1, "chainId": 1}', b"[" * 60_000]
)
def test_a_file_that_is_no_json_object_is_refused(path: Path, content: bytes) -> None:
    """Fields given twice and endless nesting among them."""
    path.write_bytes(content)
    with pytest.raises(DeploymentError, match=re.escape(str(path))):
        Deployment.read(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    for place in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DeploymentError, match="directory"):
            Deployment.read(place)


def test_the_largest_file_is_read_and_one_byte_more_is_not(path: Path) -> None:
    """Spaces are legal in JSON; endless ones are not read."""
    content = path.read_bytes()
    path.write_bytes(content.ljust(MAX_FILE_BYTES))
    assert Deployment.read(path) == GOOD
    path.write_bytes(content.ljust(MAX_FILE_BYTES + 1))
    with pytest.raises(DeploymentError, match="larger"):
        Deployment.read(path)
