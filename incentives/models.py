"""Registering a model's manifest, so that a stage that computes something else can be proven wrong."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from incentives.chain_types import Chain, Contract, Sent
from incentives.signing import Signer
from sharding.exact.parameters import Parameters, parameters_of
from sharding.hashing import HASH_BYTES
from sharding.manifest_tree import Manifest
from sharding.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """What the contract keeps of a manifest: the root of its weights' pieces, and its numbers."""

    weights: bytes
    parameters: Parameters


class Models:
    """The Models contract."""

    def __init__(self, chain: Chain, contract: Contract) -> None:
        self._chain, self.contract = chain, contract

    def register(
        self, sender: Signer, manifest: bytes, parameters: Parameters, weights: bytes, path: Sequence[bytes]
    ) -> Sent:
        """path: of trace_leaf(parameters, weights) under the manifest's root. Once more is no fault.

        Raises: Reverted (ModelNotHeld, ModelRegisteredOtherwise, ParameterOutOfRange).
        """
        return self._chain.send(sender, self.contract, "register", manifest, astuple(parameters), weights, list(path))

    def register_manifest(self, sender: Signer, manifest: Manifest, spec: ModelSpec) -> Sent:
        """The manifest of a model in the exact profile, as its folder gives it. Raises as `register` does."""
        weights = manifest.trace[-HASH_BYTES:]
        return self.register(sender, manifest.root, parameters_of(spec), weights, manifest.trace_path())

    def is_registered(self, manifest: bytes) -> bool:
        return bool(self._chain.call(self.contract, "isRegistered", manifest))

    def model(self, manifest: bytes) -> RegisteredModel:
        """Raises: Reverted (ModelUnknown)."""
        weights, numbers = self._chain.call(self.contract, "model", manifest)
        return RegisteredModel(bytes(weights), Parameters(*numbers))
