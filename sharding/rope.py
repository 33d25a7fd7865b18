"""The rotary embedding's numbers as config.json states them, in its old spelling (rope_theta, rope_scaling) and new."""

from dataclasses import dataclass
from typing import Any

from sharding.config_file import Config, mapping, real_number, text, whole_number
from sharding.errors import ConfigError, UnsupportedModel

MAX_CONTEXT = 1 << 24  # positions; float32 holds every whole number up to here, and rotary angles are float32
_PARAMETERS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}


@dataclass(frozen=True, slots=True)
class Rope:
    """kind is one of default, linear, llama3; parameters are that kind's numbers, in the order of their names."""

    kind: str
    theta: float
    parameters: tuple[tuple[str, float], ...] = ()

    @classmethod
    def from_config(cls, config: Config) -> "Rope":
        """Raises UnsupportedModel on another kind, ConfigError on a number outside its limits."""
        stated = [key for key in ("rope_parameters", "rope_scaling") if mapping(config, key)]
        if len(stated) == 2 and config[stated[0]] != config[stated[1]]:
            raise ConfigError("rope_parameters and rope_scaling disagree: keep one", key="rope_scaling")
        rope = mapping(config, stated[0]) if stated else {}
        kind = text(rope, "rope_type", text(rope, "type", "default"))
        if kind not in _PARAMETERS:
            known = ", ".join(_PARAMETERS)
            raise UnsupportedModel(f"rope type {kind!r} is not one of {known}", key="rope_type", value=kind)
        _refuse_partial(config, rope)
        theta = real_number(rope, "rope_theta", 1.0, 1e12, real_number(config, "rope_theta", 1.0, 1e12, 10_000.0))
        return cls(kind, theta, tuple((name, _parameter(rope, name)) for name in sorted(_PARAMETERS[kind])))

    def as_config(self) -> dict[str, Any]:
        """The dictionary that transformers calls rope_parameters."""
        numbers = {name: int(value) if name.startswith("original") else value for name, value in self.parameters}
        return {"rope_type": self.kind, "rope_theta": self.theta, **numbers}


def _parameter(rope: Config, name: str) -> float:
    if name == "original_max_position_embeddings":
        return float(whole_number(rope, name, 1, MAX_CONTEXT))
    return real_number(rope, name, 1e-3, 1e6)


def _refuse_partial(config: Config, rope: Config) -> None:
    for place in (config, rope):
        fraction = real_number(place, "partial_rotary_factor", 0.0, 1.0, 1.0)
        if fraction != 1.0:
            message = f"partial_rotary_factor {fraction}: only fully rotated heads are built"
            raise UnsupportedModel(message, key="partial_rotary_factor", value=fraction)
