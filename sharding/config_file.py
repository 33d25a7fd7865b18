"""Typed reading of config.json: each getter takes a value only with the type and within the limits asked for."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sharding.errors import ConfigError
from sharding.strict_json import BadJson, read_json_object

CONFIG_FILE = "config.json"
MAX_CONFIG_BYTES = 1 << 20  # the largest in common use is under 20 kB

Config = Mapping[str, Any]


def read_config(folder: Path) -> dict[str, Any]:
    """Raises ConfigError."""
    try:
        return read_json_object(folder / CONFIG_FILE, MAX_CONFIG_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(f"{folder.name} has no {CONFIG_FILE}: is it a model folder?") from error
    except BadJson as error:
        raise ConfigError(str(error)) from error


def whole_number(config: Config, key: str, low: int, high: int, default: int | None = None) -> int:
    """An int in [low, high]; booleans, floats and strings are none. An absent or null key gives the default."""
    value = _value(config, key, default)
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(
            f"{key} is {_shown(value)}: it must be a whole number in [{low}, {high}]", key=key, value=value
        )
    return value


def real_number(config: Config, key: str, low: float, high: float, default: float | None = None) -> float:
    """A finite number in [low, high], as a float."""
    value = _value(config, key, default)
    if type(value) not in (int, float) or not low <= value <= high or not math.isfinite(value):
        raise ConfigError(f"{key} is {_shown(value)}: it must be a number in [{low}, {high}]", key=key, value=value)
    return float(value)


def truth(config: Config, key: str, default: bool) -> bool:
    value = _value(config, key, default)
    if type(value) is not bool:
        raise ConfigError(f"{key} is {_shown(value)}: it must be true or false", key=key, value=value)
    return value


def text(config: Config, key: str, default: str | None = None) -> str:
    value = _value(config, key, default)
    if type(value) is not str or len(value) > 200:
        raise ConfigError(f"{key} is {_shown(value)}: it must be a short string", key=key, value=value)
    return value


def mapping(config: Config, key: str) -> dict[str, Any]:
    """An object; an absent or null key is an empty one."""
    value = _value(config, key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{key} is {_shown(value)}: it must be an object", key=key, value=value)
    return value


def _value(config: Config, key: str, default: Any) -> Any:
    value = config.get(key)
    if value is not None:
        return value
    if default is None:
        raise ConfigError(f"{key} is missing from {CONFIG_FILE}", key=key)
    return default


def _shown(value: object) -> str:
    return repr(value)[:80]
