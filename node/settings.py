"""All configuration: TOML file, environment (TALLY_*), defaults. The only place that reads the environment."""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from incentives.errors import AmountError
from incentives.units import parse_amount
from node.errors import SettingsError
from sharding.errors import SpanError
from sharding.placement_values import MAX_SPANS
from sharding.span import Span, parse_spans
from verification.addresses import to_address
from verification.errors import MalformedAddress

DEFAULT_RPC_URL = "http://127.0.0.1:8545"
DEFAULT_ASK = "0.000001"
"""Whole tokens per model token and block."""
DEFAULT_MAX_PRICE = "0.0001"
"""Whole tokens that one model token may cost through all stages, unless the client says otherwise."""
MAX_SETTINGS_BYTES = 64 * 1024
AUTO = "auto"

Profile = Literal["exact", "float32"]
"""exact: integers, the same bytes on every machine. float32: for models that have no exact form."""
DEFAULT_MODELS: dict[Profile, Path] = {"exact": Path("models/demo-exact"), "float32": Path("models/demo")}


def _checked_address(text: str) -> str:
    try:
        return str(to_address(text))
    except MalformedAddress as error:
        raise ValueError(str(error)) from error  # pydantic names the key of a ValueError only


def _checked_blocks(text: str) -> str:
    if text == AUTO:
        return text
    try:
        return ",".join(map(str, parse_spans(text)))
    except SpanError as error:
        raise ValueError(str(error)) from error


def _checked_amount(text: str) -> str:
    try:
        parse_amount(text)
    except AmountError as error:
        raise ValueError(str(error)) from error
    return text


def _checked_price(text: str) -> str:
    if parse_amount(_checked_amount(text)) == 0:
        raise ValueError("an ask of 0 cannot be paid by vouchers, which must rise; ask for a little more")
    return text


def _checked_listen(text: str) -> str:
    match = re.fullmatch(r"(?P<host>[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})", text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return text


class NodeSettings(BaseModel):
    """One node's configuration file, `node.toml`. Paths are relative to the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path
    blocks: Annotated[str, AfterValidator(_checked_blocks)]  # "0:4", "0:2,4:6" or "auto"
    owner: Annotated[str, AfterValidator(_checked_address)]
    listen: Annotated[str, AfterValidator(_checked_listen)] = "127.0.0.1:7100"
    endpoint: str | None = None  # wss://host:port that others dial; default: the listening address
    ask: Annotated[str, AfterValidator(_checked_price)] = DEFAULT_ASK
    data_dir: Path = Path("data")
    profile: Profile = "exact"  # a float checkpoint is quantised once, into the cache
    rpc_url: str = DEFAULT_RPC_URL
    deployment: Path = Path("deployments/31337.json")
    manifest: str | None = None  # expected root of what is served, hex; default: any
    threads: int = Field(default=1, ge=1, le=256)
    max_sessions: int = Field(default=64, ge=1, le=4096)
    max_sessions_per_client: int = Field(default=16, ge=1, le=4096)
    max_waiting_tokens: int = Field(default=4096, ge=1, le=1_000_000)  # past this, new sessions are told to come back
    batch_tokens: int = Field(default=256, ge=1, le=65_536)  # rows of one pass
    cache_megabytes: int = Field(default=256, ge=1, le=1 << 20)  # keys and values of all sessions
    memory_megabytes: int = Field(default=0, ge=0, le=1 << 30, validate_default=True)  # with auto: weights and cache
    max_spans: int = Field(default=4, ge=1, le=MAX_SPANS)  # with auto: pieces that the node's blocks may lie in
    swap_megabytes: int = Field(default=256, ge=0, le=1 << 20)  # of sessions that wait while others use the cache
    replay_megabytes: int = Field(default=256, ge=0, le=1 << 20)  # sent rows, kept for whoever replaces the next stage
    reuse_prefixes: bool = True  # among the sessions of one client
    max_window_tokens: int = Field(default=64, ge=1, le=4096)
    session_idle_seconds: float = Field(default=60.0, gt=0, le=3600)
    collect_at_least: Annotated[str, AfterValidator(_checked_amount)] = (
        "0.00001"  # what a transaction must bring in, or it waits
    )
    settle_every_seconds: float = Field(default=30.0, gt=0, le=86_400)
    gossip_seconds: float = Field(default=3.0, ge=0.1, le=10.0)  # between two exchanges of records with other nodes

    @field_validator("memory_megabytes")
    @classmethod
    def _enough_memory(cls, value: int, known: ValidationInfo) -> int:
        auto, cache = known.data.get("blocks") == AUTO, known.data.get("cache_megabytes", 0)
        if auto and value <= cache:
            raise ValueError(f'blocks = "auto" needs memory for weights: more than cache_megabytes, which is {cache}')
        if value and not auto:
            raise ValueError('goes with blocks = "auto" only; leave it out')
        return value

    @property
    def places_itself(self) -> bool:
        """Whether the node finds its own blocks."""
        return self.blocks == AUTO

    @property
    def spans(self) -> tuple[Span, ...]:
        """The blocks to serve, ascending, with blocks between them; none where the node finds its own."""
        return () if self.places_itself else parse_spans(self.blocks)

    @property
    def ask_units(self) -> int:
        """The price per token and block, in the smallest unit."""
        return parse_amount(self.ask)

    @property
    def collect_minimum_units(self) -> int:
        """The smallest share worth a transaction, in the smallest unit."""
        return parse_amount(self.collect_at_least)

    @property
    def host(self) -> str:
        """Where to listen."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Where to listen; 0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])


def load_node_settings(path: Path) -> NodeSettings:
    """Read and check a node.toml. Raises: SettingsError that names the file and the key."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        raise SettingsError(path, f"cannot be read ({error.strerror}); write one with `tally node init`") from error
    if len(raw) > MAX_SETTINGS_BYTES:
        raise SettingsError(path, f"is larger than {MAX_SETTINGS_BYTES} bytes")
    try:
        values = tomllib.loads(raw.decode())
        settings = NodeSettings.model_validate(values)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(path, f"is not TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError(path, _first_problem(error)) from error
    except ValueError as error:
        raise SettingsError(path, str(error)) from error
    return _anchored(settings, path.resolve().parent)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"key {'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _anchored(settings: NodeSettings, folder: Path) -> NodeSettings:
    paths: dict[str, Any] = {key: folder / getattr(settings, key) for key in ("model", "data_dir", "deployment")}
    return settings.model_copy(update=paths)


class ClientSettings(BaseSettings):
    """What every command shares; each can be set by TALLY_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="TALLY_", frozen=True)

    rpc_url: str = DEFAULT_RPC_URL
    deployment: Path | None = None  # default: deployments/<chain id>.json
    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("tallystick")) / "client")
    keystore: Path | None = None
    password_file: Path | None = None
    model: Path | None = None  # default: the profile's of DEFAULT_MODELS
    profile: Profile = "exact"
    price_seconds: float = Field(
        default=0.25, ge=0, le=3600
    )  # per token, what paying one's maximum is like; 0: time alone
    cache_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_cache_dir("tallystick")))
    anvil: Path | None = None  # an anvil binary to prefer for `tally dev up`
    trace: bool = False  # show tracebacks of errors


def trace_wanted() -> bool:
    """Whether errors should come with their traceback; asked where the other settings may be what is wrong."""
    return os.environ.get("TALLY_TRACE", "").lower() in ("1", "true", "yes", "on")


def load_client_settings() -> ClientSettings:
    """Read the environment. Raises: SettingsError that names the variable."""
    try:
        return ClientSettings()
    except ValidationError as error:
        raise SettingsError("environment", f"TALLY_ variables: {_first_problem(error)}") from error


def child_environment(threads: int) -> dict[str, str]:
    """The environment for a process that computes: this one's, with its thread pools limited."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
