"""The spec: what config.json may say, what it may not, and that nothing else counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from sharding.config_file import MAX_CONFIG_BYTES
from sharding.errors import ConfigError, UnsupportedModel
from sharding.rope import Rope
from sharding.span import MAX_BLOCKS, Span
from sharding.spec import MAX_EOS_TOKENS, MAX_HIDDEN, MAX_VOCABULARY, ModelSpec

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "eos_token_id": 2,
    "tie_word_embeddings": True,
}


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.from_config({**LLAMA, **changes})


def test_a_config_is_read_as_it_stands() -> None:
    """Every number lands in its field; what is absent has the family's meaning."""
    read = spec()
    assert read == ModelSpec(
        family="llama", num_blocks=2, hidden_size=64, num_heads=4, num_kv_heads=2, head_dim=16, intermediate_size=96,
        vocab_size=100, max_positions=128, tied_embeddings=True, eos_token_ids=(2,), norm_epsilon=1e-5,
        rope=Rope("default", 10_000.0),
    )  # fmt: skip
    assert read.whole == Span(0, 2)


WHOLE_NUMBERS = [
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "head_dim",
]


@pytest.mark.parametrize("key", WHOLE_NUMBERS)
@pytest.mark.parametrize("value", [0, -1, 10**9, True, "2", 2.0, [2], {}], ids=repr)
def test_absurd_numbers_are_refused_by_name(key: str, value: object) -> None:
    """Nothing below one, nothing endless, no booleans, strings or floats."""
    with pytest.raises(ConfigError) as caught:
        spec(**{key: value})
    assert caught.value.key in {key, "num_key_value_heads"}  # more key/value heads than heads is said of the former


@pytest.mark.parametrize(
    "key",
    [
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "rms_norm_eps",
        "model_type",
    ],
)
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "null"])
def test_what_is_needed_must_be_there(key: str, absent: bool) -> None:
    """No default is guessed for what defines the model."""
    config = {**LLAMA, key: None}
    if absent:
        del config[key]
    with pytest.raises(ConfigError) as caught:
        ModelSpec.from_config(config)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("key", "at", "past"),
    [
        ("num_hidden_layers", MAX_BLOCKS, MAX_BLOCKS + 1),
        ("hidden_size", MAX_HIDDEN, MAX_HIDDEN + 4),
        ("vocab_size", MAX_VOCABULARY, MAX_VOCABULARY + 1),
        ("max_position_embeddings", 1 << 24, (1 << 24) + 1),
        ("rms_norm_eps", 0.1, 0.11),
        ("head_dim", 1024, 1026),
    ],
)
def test_limits_are_where_they_say(key: str, at: float, past: float) -> None:
    """The largest passes, the next does not."""
    spec(**{"head_dim": 16, key: at})
    with pytest.raises(ConfigError) as caught:
        spec(**{"head_dim": 16, key: past})
    assert (caught.value.key, caught.value.value) == (key, past)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"num_attention_heads": 3, "num_key_value_heads": 2}, "num_key_value_heads"),
        ({"num_attention_heads": 3, "num_key_value_heads": 3}, "hidden_size"),
        ({"head_dim": 15}, "head_dim"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings"),
        ({"eos_token_id": 100}, "eos_token_id"),
        ({"eos_token_id": [1, -1]}, "eos_token_id"),
        ({"eos_token_id": [1] * (MAX_EOS_TOKENS + 1)}, "eos_token_id"),
        ({"eos_token_id": "2"}, "eos_token_id"),
        ({"model_type": 7}, "model_type"),
        ({"attention_bias": "no"}, "attention_bias"),
        ({"rope_scaling": [2]}, "rope_scaling"),
        ({"rope_theta": 0.5}, "rope_theta"),
        ({"rope_parameters": {"rope_theta": "10000"}}, "rope_theta"),
        ({"rope_parameters": {"rope_type": "linear"}}, "factor"),
        ({"rope_parameters": {"rope_type": "linear", "factor": -1.0}}, "factor"),
        ({"rope_parameters": {"rope_theta": 1e4}, "rope_scaling": {"rope_theta": 1e5}}, "rope_scaling"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(changes: dict[str, Any], key: str) -> None:
    """Each with the key that is to blame."""
    with pytest.raises(ConfigError) as caught:
        spec(**changes)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model_type": "gpt2"}, "model_type"),
        ({"model_type": "__class__"}, "model_type"),
        ({"auto_map": {"AutoModelForCausalLM": "evil.Model"}}, "auto_map"),
        ({"auto_map": {}}, "auto_map"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures"),
        ({"architectures": "LlamaForCausalLM"}, "architectures"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_type"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "layer_types"),
        ({"model_type": "qwen2", "architectures": None, "use_sliding_window": True}, "use_sliding_window"),
        ({"model_type": "qwen3", "architectures": None, "use_sliding_window": True}, "use_sliding_window"),
    ],
)  # fmt: skip
def test_what_is_not_built_is_refused_by_name(changes: dict[str, Any], key: str) -> None:
    """A well-formed model of another kind is no model to guess at."""
    with pytest.raises(UnsupportedModel) as caught:
        spec(**changes)
    assert caught.value.key == key


def test_families_differ_where_they_say() -> None:
    """Biases follow the family, not the wish; the window is Mistral's, and must be stated."""
    other = {"architectures": None, "attention_bias": True}
    assert spec(**other).attention_biases == ("q", "k", "v", "o")
    assert spec(**other, model_type="qwen3").attention_biases == ("q", "k", "v", "o")
    assert spec(**other, model_type="mistral", sliding_window=4).attention_biases == ()
    assert spec(model_type="qwen2", architectures=None).attention_biases == ("q", "k", "v")
    assert spec(**other, model_type="mistral", sliding_window=4).sliding_window == 4
    assert spec(**other, model_type="mistral", sliding_window=None).sliding_window is None
    with pytest.raises(ConfigError, match="sliding_window is missing"):
        spec(**other, model_type="mistral")


def test_old_and_new_spelling_of_the_rotary_embedding_agree() -> None:
    """rope_theta and rope_scaling of earlier files mean what rope_parameters means."""
    new = spec(rope_parameters={"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0})
    old = spec(rope_theta=500000, rope_scaling={"type": "linear", "factor": 2})
    assert new == old
    assert new.rope == Rope("linear", 5e5, (("factor", 2.0),))


def test_the_digest_changes_with_every_number_and_with_nothing_else() -> None:
    """Two files that mean the same have one digest; any change of meaning has another."""
    changes: list[dict[str, Any]] = [
        {},
        {"num_hidden_layers": 3},
        {"vocab_size": 101},
        {"rms_norm_eps": 1e-6},
        {"rope_theta": 20000.0},
        {"eos_token_id": [2, 3]},
        {"tie_word_embeddings": False},
        {"head_dim": 32},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0}},
    ]
    assert len({spec(**change).digest() for change in changes}) == len(changes)
    assert spec(dtype="float16", _name_or_path="elsewhere", head_dim=16).digest() == spec().digest()


def test_the_canonical_bytes_are_fixed() -> None:
    """A golden vector: other implementations must write the same."""
    assert spec().canonical() == (
        b'{"attention_biases":[],"eos_token_ids":[2],"family":"llama","head_dim":16,"hidden_size":64,"intermediate_size":96,'
        b'"max_positions":128,"mlp_bias":false,"norm_epsilon":"0x1.4f8b588e368f1p-17","num_blocks":2,"num_heads":4,'
        b'"num_kv_heads":2,"rope":{"kind":"default","parameters":{},"theta":"0x1.3880000000000p+13"},"sliding_window":null,'
        b'"tied_embeddings":true,"vocab_size":100}'
    )


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """At the limit a config is read, one byte past it not."""
    raw = json.dumps(LLAMA).encode()
    (tmp_path / "config.json").write_bytes(raw.ljust(MAX_CONFIG_BYTES))
    assert ModelSpec.from_folder(tmp_path) == spec()

    (tmp_path / "config.json").write_bytes(raw.ljust(MAX_CONFIG_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        ModelSpec.from_folder(tmp_path)


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    """Said plainly, as for a file that is no JSON."""
    with pytest.raises(ConfigError, match="no config"):
        ModelSpec.from_folder(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ConfigError, match="not JSON"):
        ModelSpec.from_folder(tmp_path)
