"""The shipped artifacts: what they say of themselves, and that they are what runs."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from incentives import artifacts
from incentives.artifacts import (
    CONTRACT_NAMES,
    ArtifactMissing,
    ErrorSpec,
    canonical_signature,
    error_name,
    error_table,
    load_artifact,
    parse_artifact,
    selector,
)
from tests.contracts.world import World


def test_what_runs_on_the_chain_is_the_artifact(world: World) -> None:
    """Up to the immutables, which differ with every deployment; any other byte is noticed."""
    for contract in (world.token, world.stakes, world.court, world.channels):
        code = world.chain.code(contract.address)
        assert contract.artifact.is_code(code)
        assert not contract.artifact.is_code(code[:-1])
        assert not contract.artifact.is_code(code + b"\0")
        assert not contract.artifact.is_code(bytes([code[0] ^ 1]) + code[1:])
        assert not load_artifact("Token" if contract.name != "Token" else "Court").is_code(code)


def test_immutables_are_blank_in_the_artifact() -> None:
    """Where the constructor fills something in, the artifact has zeros, and these have nothing to fill in."""
    for name in CONTRACT_NAMES:
        artifact = load_artifact(name)
        assert bool(artifact.immutables) is (name not in ("Models", "Rulebook", "Bench"))
        for start, length in artifact.immutables:
            assert not any(artifact.deployed_bytecode[start : start + length])


def test_errors_are_found_by_their_selector() -> None:
    """Those of every contract and library, and the compiler's own two."""
    assert error_name(selector("StakeTooLow(uint256,uint256)") + bytes(64)) == "StakeTooLow"
    assert error_name(selector("VoucherStale(uint96,uint96)")) == "VoucherStale"
    assert error_name(selector("SignatureInvalid()")) == "SignatureInvalid"
    assert error_name(bytes.fromhex("08c379a0")) == "Error"
    assert error_table()[bytes.fromhex("4e487b71")] == ErrorSpec("Panic", ("uint256",), ("code",))
    assert error_table()[selector("SignerTaken(address,address)")] == ErrorSpec(
        "SignerTaken", ("address", "address"), ("signer", "node")
    )
    for unknown in (b"", b"\0\0\0", bytes(4), bytes(36)):
        assert error_name(unknown) is None


def test_one_selector_means_one_error() -> None:
    """No two errors of the suite share a selector, so a reason is never misread."""
    signatures = {
        canonical_signature(entry)
        for name in CONTRACT_NAMES
        for entry in load_artifact(name).abi
        if entry["type"] == "error"
    }
    assert len({selector(signature) for signature in signatures}) == len(signatures) == len(error_table()) - 2


def test_tuples_are_spelled_out_in_signatures() -> None:
    """Nested ones and arrays of them, too."""
    inner = {"name": "b", "type": "tuple[2]", "components": [{"name": "c", "type": "uint8"}]}
    entry = {"name": "f", "inputs": [{"name": "a", "type": "tuple[]", "components": [inner]}]}
    assert canonical_signature(entry) == "f(((uint8)[2])[])"
    assert selector("transfer(address,uint256)").hex() == "a9059cbb"


@pytest.mark.parametrize("name", ["Vault", "", "../Token", "token"])
def test_only_the_suites_contracts_can_be_loaded(name: str) -> None:
    """The error says which there are."""
    with pytest.raises(ArtifactMissing, match=", ".join(CONTRACT_NAMES)) as caught:
        load_artifact(name)
    assert caught.value.name == name


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"contractName": "Token", "abi": [], "bytecode": "0xzz"}'])
def test_a_damaged_artifact_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    """Whatever is wrong with the file, the error says which one and what to do."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "Token.json").write_text(content)
    monkeypatch.setattr(artifacts, "files", lambda _package: tmp_path)
    with pytest.raises(ArtifactMissing, match="reinstall"):
        load_artifact.__wrapped__("Token")


def test_an_artifact_is_what_its_file_says() -> None:
    """Two readings are equal, and differ from a changed one."""
    fields = json.loads((files("incentives") / "artifacts" / "Court.json").read_text())
    artifact = parse_artifact(fields)
    assert artifact == load_artifact("Court") != replace(artifact, bytecode=b"")
    assert fields["functions"]["stakes()"] == "0x" + selector("stakes()").hex()
    assert fields["errors"]["NotEquivocation()"] == "0x" + selector("NotEquivocation()").hex()
