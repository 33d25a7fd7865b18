"""All configuration: TOML file, environment (TALLY_*), defaults. The only place that reads the environment."""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from incentives.units import parse_amount
from node.errors import SettingsError
from node.setting_texts import AUTO, AddressText, AmountText, AskText, BlocksText, ChainUrls, ListenText, PriceText
from sharding.placement_values import MAX_SPANS
from sharding.span import Span, parse_spans

DEFAULT_RPC_URL = "http://127.0.0.1:8545"
DEFAULT_ASK = "0.000001"
"""Whole tokens per model token and block."""
DEFAULT_MAX_PRICE = "0.0001"
"""Whole tokens that one model token may cost through all stages, unless the client says otherwise."""
DEFAULT_ASK_FLOOR, DEFAULT_ASK_CEILING = "0.00000025", "0.000004"
"""Between these an automatic ask moves: a quarter of the default ask, and four times as much."""
MAX_SETTINGS_BYTES = 64 * 1024

Profile = Literal["exact", "float32"]
"""exact: integers, the same bytes on every machine. float32: for models that have no exact form."""
DEFAULT_MODELS: dict[Profile, Path] = {"exact": Path("models/demo-exact"), "float32": Path("models/demo")}


class NodeSettings(BaseModel):
    """One node's configuration file, `node.toml`. Paths are relative to the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path
    blocks: BlocksText  # "0:4", "0:2,4:6" or "auto"
    owner: AddressText
    listen: ListenText = "127.0.0.1:7100"
    endpoint: str | None = None  # wss://host:port that others dial; default: the listening address
    ask: AskText = DEFAULT_ASK  # or "auto": it follows how busy the node is
    ask_floor: PriceText = DEFAULT_ASK_FLOOR  # with auto
    ask_ceiling: PriceText = DEFAULT_ASK_CEILING  # with auto; what the chain is told
    ask_epoch_seconds: float = Field(default=60.0, ge=10, le=86_400)  # with auto: between two looks at the ask
    data_dir: Path = Path("data")
    profile: Profile = "exact"  # a float checkpoint is quantised once, into the cache
    rpc_url: ChainUrls = DEFAULT_RPC_URL  # several: the first that answers and is what it should be
    max_head_age_seconds: float | None = Field(default=None, ge=0, le=86_400)  # 0: any; default: by the chain
    confirmations: int | None = Field(default=None, ge=0, le=10_000)  # blocks until a transaction is final; as above
    max_fee_gwei: int = Field(default=500, ge=1, le=1_000_000)  # what no transaction pays more than, per gas
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
    collect_at_least: AmountText = "0.00001"  # what a transaction must bring in, or it waits
    settle_every_seconds: float = Field(default=30.0, gt=0, le=86_400)
    keep_scores: bool = (
        True  # be in the table of scores, claim credit, post and check roots; a few transactions an epoch
    )
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

    @model_validator(mode="after")
    def _limits_of_the_ask(self) -> Self:
        given = self.model_fields_set & {"ask_floor", "ask_ceiling", "ask_epoch_seconds"}
        if given and not self.asks_by_itself:
            raise ValueError(f'key {min(given)}: goes with ask = "auto" only; leave it out')
        if self.asks_by_itself and parse_amount(self.ask_floor) > parse_amount(self.ask_ceiling):
            raise ValueError(f"key ask_floor: {self.ask_floor} is above ask_ceiling {self.ask_ceiling}")
        return self

    @property
    def chain_urls(self) -> tuple[str, ...]:
        """Where the chain is, the preferred endpoint first."""
        return tuple(self.rpc_url.split(","))

    @property
    def asks_by_itself(self) -> bool:
        """Whether the ask follows how busy the node is."""
        return self.ask == AUTO

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
        """The most that the node asks per token and block, in the smallest unit: what the chain is told."""
        return parse_amount(self.ask_ceiling if self.asks_by_itself else self.ask)

    @property
    def ask_floor_units(self) -> int:
        """The least that the node asks."""
        return parse_amount(self.ask_floor if self.asks_by_itself else self.ask)

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
    where = ".".join(map(str, problem["loc"]))
    return f"key {where}: {problem['msg']}" if where else str(problem["msg"])


def _anchored(settings: NodeSettings, folder: Path) -> NodeSettings:
    paths: dict[str, Any] = {key: folder / getattr(settings, key) for key in ("model", "data_dir", "deployment")}
    return settings.model_copy(update=paths)


class ClientSettings(BaseSettings):
    """What every command shares; each can be set by TALLY_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="TALLY_", frozen=True)

    rpc_url: ChainUrls = DEFAULT_RPC_URL  # several: with commas between them
    max_head_age_seconds: float | None = Field(default=None, ge=0, le=86_400)  # as a node's
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

    @property
    def chain_urls(self) -> tuple[str, ...]:
        """Where the chain is, the preferred endpoint first."""
        return tuple(self.rpc_url.split(","))


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
