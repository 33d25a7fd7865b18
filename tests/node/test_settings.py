"""The settings: a file that says one thing wrongly is refused with the file's and the key's name."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from node.errors import SettingsError
from node.settings import (
    DEFAULT_RPC_URL,
    MAX_SETTINGS_BYTES,
    ClientSettings,
    NodeSettings,
    child_environment,
    load_client_settings,
    load_node_settings,
)
from sharding.span import Span

OWNER = "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"
NEEDED = {"model": '"models/tiny"', "blocks": '"2:4"', "owner": f'"{OWNER}"'}


def write(folder: Path, **changes: str | None) -> Path:
    """A good node.toml with changes; None leaves a key out."""
    values = {key: value for key, value in (NEEDED | changes).items() if value is not None}
    path = folder / "node.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
    return path


def test_file_with_the_needed_keys_is_enough(tmp_path: Path) -> None:
    """Everything else has a default."""
    settings = load_node_settings(write(tmp_path))

    assert (settings.spans, settings.owner) == ((Span(2, 4),), OWNER)
    assert (settings.host, settings.port) == ("127.0.0.1", 7100)
    assert settings.ask_units == 10**12
    assert settings.rpc_url == DEFAULT_RPC_URL
    assert settings.endpoint is None
    assert settings.profile == "exact"


def _many(count: int) -> str:
    """So many spans of one block, apart."""
    return ",".join(f"{2 * place}:{2 * place + 1}" for place in range(count))


def test_a_node_may_serve_several_spans(tmp_path: Path) -> None:
    """In the order of the blocks, each with its ends."""
    settings = load_node_settings(write(tmp_path, blocks='"0:2,4:6,9:10"'))
    assert settings.spans == (Span(0, 2), Span(4, 6), Span(9, 10))
    assert settings.blocks == "0:2,4:6,9:10"


@pytest.mark.parametrize("key", list(NEEDED))
def test_missing_key_is_named(tmp_path: Path, key: str) -> None:
    """What a node cannot guess has to be said."""
    with pytest.raises(SettingsError, match=f"key {key}") as caught:
        load_node_settings(write(tmp_path, **{key: None}))

    assert caught.value.path == tmp_path / "node.toml"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("moddel", '"x"'),
        ("model", "3"),
        ("blocks", '"4:2"'),
        ("blocks", '"2-4"'),
        ("blocks", '"0:1025"'),
        ("blocks", "[2, 4]"),
        ("blocks", '"0:2,2:4"'),
        ("blocks", '"0:3,2:4"'),
        ("blocks", '"4:6,0:2"'),
        ("blocks", '"0:2, 4:6"'),
        ("blocks", '"0:2,"'),
        ("blocks", '""'),
        ("blocks", f'"{_many(17)}"'),
        ("owner", '"0x12"'),
        ("owner", f'"{OWNER.swapcase().replace("0X", "0x")}"'),
        ("owner", "170"),
        ("ask", '"-1"'),
        ("ask", '"1e3"'),
        ("ask", '"0.0000000000000000001"'),
        ("ask", '"79228162515"'),
        ("ask", "0.5"),
        ("listen", '"127.0.0.1:65536"'),
        ("listen", '"127.0.0.1"'),
        ("listen", '":7100"'),
        ("listen", '"127.0.0.1:-1"'),
        ("listen", '"[::1:7100"'),
        ("listen", "7100"),
        ("ask", '"0"'),
        ("threads", "0"),
        ("threads", "257"),
        ("threads", '"many"'),
        ("threads", "1.5"),
        ("max_sessions", "0"),
        ("max_sessions", "4097"),
        ("max_window_tokens", "0"),
        ("max_window_tokens", "4097"),
        ("session_idle_seconds", "0"),
        ("session_idle_seconds", "3600.1"),
        ("session_idle_seconds", "nan"),
        ("settle_every_seconds", "0"),
        ("settle_every_seconds", "inf"),
        ("data_dir", "false"),
        ("rpc_url", "8545"),
        ("rpc_url", '"127.0.0.1:8545"'),
        ("rpc_url", '"ws://127.0.0.1:8545"'),
        ("rpc_url", '"http://[::1"'),
        ("rpc_url", '["http://a.test", "b.test"]'),
        ("rpc_url", "[]"),
        ("rpc_url", str([f"http://{n}.test" for n in range(17)]).replace("'", '"')),
        ("max_head_age_seconds", "-1"),
        ("max_head_age_seconds", "86401"),
        ("confirmations", "-1"),
        ("confirmations", "10001"),
        ("max_fee_gwei", "0"),
        ("max_fee_gwei", "1000001"),
        ("ask_floor", '"0.1"'),  # without ask = "auto"
        ("profile", '"exact-1"'),
        ("profile", '"Exact"'),
        ("profile", "1"),
    ],
)
def test_bad_value_is_refused_with_its_key(tmp_path: Path, key: str, value: str) -> None:
    """One past each limit, the wrong type, and a key that is not one."""
    with pytest.raises(SettingsError, match=f"key {key}: ") as caught:
        load_node_settings(write(tmp_path, **{key: value}))

    assert caught.value.path == tmp_path / "node.toml"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("profile", '"exact"'),
        ("profile", '"float32"'),
        ("blocks", '"0:1024"'),
        ("blocks", '"0:2,3:1024"'),
        ("blocks", f'"{_many(16)}"'),
        ("ask", '"0.000000000000000001"'),
        ("ask", '"79228162514.264337593543950335"'),
        ("listen", '"0.0.0.0:0"'),
        ("listen", '"node-1.example:65535"'),
        ("threads", "256"),
        ("max_sessions", "4096"),
        ("max_window_tokens", "4096"),
        ("session_idle_seconds", "3600"),
        ("settle_every_seconds", "86400"),
    ],
)
def test_value_at_its_limit_is_taken(tmp_path: Path, key: str, value: str) -> None:
    """The limits themselves are allowed."""
    settings = load_node_settings(write(tmp_path, **{key: value}))

    assert str(getattr(settings, key)).removesuffix(".0") == value.strip('"')


def test_several_urls_of_the_chain_are_a_list_or_one_text(tmp_path: Path) -> None:
    """In their order, each once; one alone is as before."""
    for text in (
        '["http://a.test:1", "https://b.test/key", "http://a.test:1"]',
        '"http://a.test:1, https://b.test/key"',
    ):
        assert load_node_settings(write(tmp_path, rpc_url=text)).chain_urls == ("http://a.test:1", "https://b.test/key")
    assert load_node_settings(write(tmp_path)).chain_urls == (DEFAULT_RPC_URL,)
    many = [f"http://{number}.test" for number in range(16)]
    assert load_node_settings(write(tmp_path, rpc_url=str(many).replace("'", '"'))).chain_urls == tuple(many)


def test_a_url_that_is_refused_is_not_repeated(tmp_path: Path) -> None:
    """It may hold an access key."""
    with pytest.raises(SettingsError) as caught:
        load_node_settings(write(tmp_path, rpc_url='"htp://chain.test/secretkey"'))
    assert "secretkey" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ask": '"auto"', "ask_floor": '"2"', "ask_ceiling": '"1.9"'}, "ask_floor"),
        ({"ask": '"auto"', "ask_floor": '"0"'}, "ask_floor"),
        ({"ask": '"auto"', "ask_epoch_seconds": "9.9"}, "ask_epoch_seconds"),
        ({"ask": '"automatic"'}, "ask"),
        ({"ask_ceiling": '"1"'}, "ask_ceiling"),
    ],
)
def test_an_automatic_ask_has_sensible_limits(tmp_path: Path, changes: dict[str, str], problem: str) -> None:
    """And they go with it alone."""
    with pytest.raises(SettingsError, match=f"key {problem}: "):
        load_node_settings(write(tmp_path, **changes))


def test_the_chain_is_told_the_most_that_a_node_asks(tmp_path: Path) -> None:
    """A fixed ask is the least and the most."""
    auto = load_node_settings(write(tmp_path, ask='"auto"', ask_floor='"1"', ask_ceiling='"1"'))
    assert (auto.asks_by_itself, auto.ask_floor_units, auto.ask_units) == (True, 10**18, 10**18)
    fixed = load_node_settings(write(tmp_path))
    assert (fixed.asks_by_itself, fixed.ask_floor_units, fixed.ask_units) == (False, 10**12, 10**12)
    free = load_node_settings(write(tmp_path, ask='"auto"'))
    assert free.ask_floor_units < 10**12 < free.ask_units


def test_ipv6_address_is_read(tmp_path: Path) -> None:
    """Brackets separate the port and are no part of the host."""
    settings = load_node_settings(write(tmp_path, listen='"[::1]:0"'))

    assert (settings.host, settings.port) == ("::1", 0)


def test_owner_is_spelled_one_way(tmp_path: Path) -> None:
    """Small letters carry no checksum and are taken; what is kept has one."""
    assert load_node_settings(write(tmp_path, owner=f'"{OWNER.lower()}"')).owner == OWNER


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command is started; absolute ones stay."""
    (tmp_path / "conf").mkdir()
    write(tmp_path / "conf", data_dir='"../d"', deployment='"/chain/31337.json"')
    monkeypatch.chdir(tmp_path)

    settings = load_node_settings(Path("conf/node.toml"))

    assert settings.model == tmp_path / "conf" / "models" / "tiny"
    assert settings.data_dir == tmp_path / "conf" / ".." / "d"
    assert settings.deployment == Path("/chain/31337.json")


@pytest.mark.parametrize(
    "content",
    [b"model = ", b"model = 'a'\nmodel = 'b'\n", b"\xff\xfe", b"\x00", b"x = " + b"[" * 20_000],
    ids=["cut off", "key twice", "not UTF-8", "NUL", "nested"],
)
def test_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    """With its name."""
    path = tmp_path / "node.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match="is not TOML") as caught:
        load_node_settings(path)

    assert caught.value.path == path


def test_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    """An operator's first error should also be the last."""
    with pytest.raises(SettingsError, match="tally node init"):
        load_node_settings(tmp_path / "node.toml")


def test_folder_is_not_a_file(tmp_path: Path) -> None:
    """The name is right, the thing is not."""
    with pytest.raises(SettingsError, match="cannot be read"):
        load_node_settings(tmp_path)


def test_file_past_the_limit_is_refused(tmp_path: Path) -> None:
    """64 KiB are read, one byte more is not."""
    path = write(tmp_path)
    content = path.read_text()
    path.write_text(content + "#" * (MAX_SETTINGS_BYTES - len(content)))
    assert load_node_settings(path).owner == OWNER

    path.write_text(content + "#" * (MAX_SETTINGS_BYTES - len(content) + 1))

    with pytest.raises(SettingsError, match="larger than 65536"):
        load_node_settings(path)


def test_file_without_end_is_refused() -> None:
    """No more than the limit is ever read."""
    with pytest.raises(SettingsError, match="larger than"):
        load_node_settings(Path("/dev/zero"))


def test_settings_do_not_change(tmp_path: Path) -> None:
    """What was checked is what is used."""
    settings = load_node_settings(write(tmp_path))

    with pytest.raises(ValidationError):
        settings.ask = "5"


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No TALLY_* variable of the machine's."""
    for name in ClientSettings.model_fields:
        monkeypatch.delenv(f"TALLY_{name.upper()}", raising=False)
    return monkeypatch


def test_client_settings_have_defaults(bare_environment: pytest.MonkeyPatch) -> None:
    """A command works without any configuration."""
    settings = ClientSettings()

    assert settings.rpc_url == DEFAULT_RPC_URL
    assert (settings.deployment, settings.keystore, settings.password_file, settings.anvil) == (None,) * 4
    assert settings.data_dir.name == "client"
    assert (settings.profile, settings.model, settings.cache_dir.name) == ("exact", None, "tallystick")
    assert settings.trace is False


def test_client_settings_come_from_the_environment(bare_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each by its own TALLY_ variable; names without the prefix say nothing."""
    bare_environment.setenv("RPC_URL", "http://other.test")
    bare_environment.setenv("TALLY_RPC_URL", "http://chain.test:1")
    bare_environment.setenv("TALLY_DATA_DIR", str(tmp_path))
    bare_environment.setenv("TALLY_KEYSTORE", "key.json")
    bare_environment.setenv("TALLY_TRACE", "1")
    bare_environment.setenv("TALLY_PROFILE", "float32")
    bare_environment.setenv("TALLY_CACHE_DIR", str(tmp_path / "cache"))

    settings = ClientSettings()

    assert settings.rpc_url == "http://chain.test:1"
    assert settings.data_dir == tmp_path
    assert settings.keystore == Path("key.json")
    assert settings.trace is True
    assert (settings.profile, settings.cache_dir) == ("float32", tmp_path / "cache")


def test_bad_variable_is_named(bare_environment: pytest.MonkeyPatch) -> None:
    """A profile that does not exist is no reason to take another."""
    bare_environment.setenv("TALLY_PROFILE", "int8")

    with pytest.raises(SettingsError, match="profile"):
        load_client_settings()


def test_child_computes_on_the_threads_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's environment, with the pools of the mathematics limited."""
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("SOMETHING", "else")

    environment = child_environment(2)

    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "2"
    assert environment["SOMETHING"] == "else"


# Nodes that find their own blocks


def auto(**changes: object) -> NodeSettings:
    """A node with blocks = "auto"."""
    return NodeSettings.model_validate({"model": "m", "blocks": "auto", "owner": OWNER, "cache_megabytes": 8} | changes)


def test_a_node_that_finds_its_own_blocks_names_none() -> None:
    """One megabyte for weights is the least; how many pieces they may lie in has both ends."""
    settings = auto(memory_megabytes=9)
    assert (settings.places_itself, settings.spans, settings.max_spans) == (True, (), 4)
    for pieces in (1, 16):
        assert auto(memory_megabytes=9, max_spans=pieces).max_spans == pieces


@pytest.mark.parametrize(
    ("changes", "key"),
    [({}, "memory_megabytes"), ({"memory_megabytes": 8}, "memory_megabytes"),
     ({"memory_megabytes": 9, "blocks": "0:4"}, "memory_megabytes"), ({"memory_megabytes": 9, "max_spans": 0}, "max_spans"),
     ({"memory_megabytes": 9, "max_spans": 17}, "max_spans"), ({"memory_megabytes": 9, "blocks": "Auto"}, "blocks")],
    ids=str,
)  # fmt: skip
def test_memory_is_said_where_it_counts_and_only_there(changes: dict[str, object], key: str) -> None:
    """No memory beyond the caches leaves none for weights; with fixed blocks it would say nothing."""
    with pytest.raises(ValidationError, match=key):
        auto(**changes)
