"""Registering models: by content, by anybody, once, and never as something else."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from incentives.artifacts import load_artifact
from incentives.chain import Web3Chain
from incentives.errors import Reverted
from incentives.models import Models, RegisteredModel
from sharding.exact.parameters import Parameters, parameters_of
from sharding.exact.quantise import quantise
from sharding.hashing import keccak256
from sharding.manifest_tree import model_leaves, trace_leaf
from sharding.merkle import merkle_proof, merkle_root
from sharding.random_model import write_random_model
from sharding.spec import ModelSpec
from tests.incentives.suite import DEPLOYER, OWNER, STRANGER
from tests.sharding.exact.random_span import small_spec
from tests.sharding.tiny import tiny

WEIGHTS = keccak256(b"weights")
NUMBERS = parameters_of(small_spec("qwen3", num_kv_heads=2, sliding_window=9))
U32 = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Shown:
    """A manifest's root with the path to one of its leaves about traces."""

    root: bytes
    path: list[bytes]


def shown(*numbers: Parameters, weights: bytes = WEIGHTS) -> Shown:
    """The first of them shown; an honest manifest has one such leaf."""
    others = model_leaves(
        "exact-1", keccak256(b"spec"), keccak256(b"embed"), (keccak256(b"block"),), keccak256(b"head")
    )
    leaves = [*others, *(trace_leaf(each, weights) for each in numbers)]
    return Shown(merkle_root(leaves), merkle_proof(leaves, len(others)))


@pytest.fixture(scope="session")
def deployed(chain_url: str) -> Models:
    chain = Web3Chain(chain_url, expected_chain_id=31337)
    return Models(chain, chain.deploy(DEPLOYER, load_artifact("Models")).contract)


@pytest.fixture
def models(deployed: Models, chain_snapshot: str) -> Models:
    return deployed


def refused(
    models: Models, root: bytes, numbers: Parameters, weights: bytes, path: list[bytes]
) -> tuple[str, tuple[object, ...]]:
    with pytest.raises(Reverted) as caught:
        models.register(STRANGER, root, numbers, weights, path)
    return caught.value.name, tuple(caught.value.arguments)


def test_anybody_registers_a_model_and_everybody_reads_it(models: Models) -> None:
    """What is kept is what lies under the root."""
    model = shown(NUMBERS)
    assert not models.is_registered(model.root)

    sent = models.register(STRANGER, model.root, NUMBERS, WEIGHTS, model.path)

    assert models.is_registered(model.root)
    assert models.model(model.root) == RegisteredModel(WEIGHTS, NUMBERS)
    assert [(event.name, dict(event.args)) for event in sent.logs] == [
        ("ModelRegistered", {"manifest": model.root, "weights": WEIGHTS})
    ]


def test_once_more_is_no_fault_and_changes_nothing(models: Models) -> None:
    """Nobody can keep another from registering by being first."""
    model = shown(NUMBERS)
    models.register(STRANGER, model.root, NUMBERS, WEIGHTS, model.path)

    sent = models.register(OWNER, model.root, NUMBERS, WEIGHTS, model.path)

    assert sent.logs == ()
    assert models.model(model.root) == RegisteredModel(WEIGHTS, NUMBERS)


def test_nothing_is_registered_that_does_not_lie_under_the_root(models: Models) -> None:
    """Other numbers, other weights, another leaf's path, another root."""
    model, other = shown(NUMBERS), replace(NUMBERS, score=NUMBERS.score + 1)
    held = "ModelNotHeld", (model.root,)
    assert refused(models, model.root, other, WEIGHTS, model.path) == held
    assert refused(models, model.root, NUMBERS, keccak256(b"other"), model.path) == held
    assert refused(models, model.root, NUMBERS, WEIGHTS, model.path[1:]) == held
    assert refused(models, bytes(32), NUMBERS, WEIGHTS, model.path) == ("ModelNotHeld", (bytes(32),))
    assert not models.is_registered(model.root)


def test_no_weights_are_no_model(models: Models) -> None:
    """Zero would read as not registered."""
    model = shown(NUMBERS, weights=bytes(32))
    assert refused(models, model.root, NUMBERS, bytes(32), model.path) == ("ModelNotHeld", (model.root,))


def test_a_root_that_says_two_things_keeps_the_first(models: Models) -> None:
    """No node derives such a root from a folder."""
    other = replace(NUMBERS, positions=NUMBERS.positions + 1)
    first, second = shown(NUMBERS, other), shown(other, NUMBERS)
    leaves = first.root, merkle_proof_of_second(NUMBERS, other)
    models.register(STRANGER, first.root, NUMBERS, WEIGHTS, first.path)

    assert refused(models, leaves[0], other, WEIGHTS, leaves[1]) == ("ModelRegisteredOtherwise", (first.root,))
    assert models.model(first.root).parameters == NUMBERS
    assert second.root != first.root


def merkle_proof_of_second(*numbers: Parameters) -> list[bytes]:
    others = model_leaves(
        "exact-1", keccak256(b"spec"), keccak256(b"embed"), (keccak256(b"block"),), keccak256(b"head")
    )
    return merkle_proof([*others, *(trace_leaf(each, WEIGHTS) for each in numbers)], len(others) + 1)


def test_an_unknown_model_is_named(models: Models) -> None:
    """Reading it is refused, not answered with zeros."""
    with pytest.raises(Reverted) as caught:
        models.model(WEIGHTS)
    assert (caught.value.name, tuple(caught.value.arguments)) == ("ModelUnknown", (WEIGHTS,))


@pytest.mark.parametrize(("name", "place", "last", "beyond"), [
    ("blocks", 0, (1, 1024), (0, 1025)),
    ("hidden", 1, (1, 2**16), (0, 2**16 + 1)),
    ("heads", 2, (2, 1024), (1025,)),
    ("kv_heads", 3, (1, 4), (0, 3, 5)),
    ("head_dim", 4, (2, 1024), (0, 1, 7, 1025)),
    ("intermediate", 5, (1, 2**20), (0, 2**20 + 1)),
    ("vocabulary", 6, (1, 2**21), (0, 2**21 + 1)),
    ("positions", 7, (1, 2**17), (0, 2**17 + 1)),
    ("window", 8, (0, U32), ()),
    ("flags", 9, (0, 31), (32,)),
    ("epsilon", 10, (0, 2**45), (2**45 + 1,)),
    ("head_epsilon", 11, (0, 2**45), (2**45 + 1,)),
    ("score", 12, (1, U32), (0,)),
])  # fmt: skip
def test_every_number_has_its_limits(
    models: Models, name: str, place: int, last: tuple[int, ...], beyond: tuple[int, ...]
) -> None:
    """The last that pass, and those next to them, although they lie under their roots."""
    for value in last:
        numbers = replace(NUMBERS, **{name: value})
        model = shown(numbers)
        models.register(STRANGER, model.root, numbers, WEIGHTS, model.path)
        assert models.model(model.root).parameters == numbers
    for value in beyond:
        numbers = replace(NUMBERS, **{name: value})
        model = shown(numbers)
        refusal = refused(models, model.root, numbers, WEIGHTS, model.path)
        assert refusal == ("ParameterOutOfRange", (place, value))


def test_no_heads_are_refused(models: Models) -> None:
    """Before anything is divided by their number."""
    numbers = replace(NUMBERS, heads=0)
    model = shown(numbers)
    assert refused(models, model.root, numbers, WEIGHTS, model.path) == ("ParameterOutOfRange", (2, 0))


def test_the_folder_of_an_exact_model_is_registered_as_it_is(models: Models, tmp_path: Path) -> None:
    """What its manifest says of the weights is what the contract keeps."""
    write_random_model(tmp_path / "float", tiny("llama"))
    manifest = quantise(tmp_path / "float", tmp_path / "exact")
    spec = ModelSpec.from_folder(tmp_path / "exact")

    models.register_manifest(STRANGER, manifest, spec)

    kept = models.model(manifest.root)
    assert kept.parameters == parameters_of(spec)
    assert trace_leaf(kept.parameters, kept.weights) == manifest.trace
