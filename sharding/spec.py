"""What a model is made of, read strictly from config.json: nothing else of that file ever reaches a computation."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

from sharding.config_file import Config, read_config, real_number, text, truth, whole_number
from sharding.errors import ConfigError, UnsupportedModel
from sharding.families import FAMILIES, Family
from sharding.hashing import sha256
from sharding.rope import MAX_CONTEXT, Rope
from sharding.span import MAX_BLOCKS, Span

MAX_HIDDEN = 1 << 16
MAX_HEADS = 1 << 10
MAX_HEAD_DIM = 1 << 10
MAX_INTERMEDIATE = 1 << 20
MAX_VOCABULARY = 1 << 21
MAX_EOS_TOKENS = 64
_DOMAIN = b"tallystick model spec 1\n"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The numbers of a decoder-only model. sliding_window counts keys, the query's own included; None is no window.

    attention_biases names the projections (q, k, v, o) that have one.
    """

    family: str
    num_blocks: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    tied_embeddings: bool
    eos_token_ids: tuple[int, ...]
    norm_epsilon: float
    rope: Rope
    attention_biases: tuple[str, ...] = ()
    mlp_bias: bool = False
    sliding_window: int | None = None

    @classmethod
    def from_folder(cls, folder: Path) -> "ModelSpec":
        """Read folder/config.json. Raises ConfigError on bad values, UnsupportedModel on what is not built."""
        return cls.from_config(read_config(Path(folder)))

    @classmethod
    def from_config(cls, config: Config) -> "ModelSpec":
        family = _family(config)
        hidden = whole_number(config, "hidden_size", 1, MAX_HIDDEN)
        heads = whole_number(config, "num_attention_heads", 1, MAX_HEADS)
        vocabulary = whole_number(config, "vocab_size", 1, MAX_VOCABULARY)
        return cls(
            family=family.name,
            num_blocks=whole_number(config, "num_hidden_layers", 1, MAX_BLOCKS),
            hidden_size=hidden,
            num_heads=heads,
            num_kv_heads=_kv_heads(config, heads),
            head_dim=_head_dim(config, hidden, heads),
            intermediate_size=whole_number(config, "intermediate_size", 1, MAX_INTERMEDIATE),
            vocab_size=vocabulary,
            max_positions=whole_number(config, "max_position_embeddings", 1, MAX_CONTEXT),
            tied_embeddings=truth(config, "tie_word_embeddings", False),
            eos_token_ids=_eos(config, vocabulary),
            norm_epsilon=real_number(config, "rms_norm_eps", 1e-12, 1e-1),
            rope=Rope.from_config(config),
            attention_biases=_attention_biases(config, family),
            mlp_bias=family.mlp_bias and truth(config, "mlp_bias", False),
            sliding_window=_sliding_window(config, family),
        )

    @property
    def whole(self) -> Span:
        return Span(0, self.num_blocks)

    def canonical(self) -> bytes:
        """One byte string per spec: JSON with sorted keys, no spaces, ASCII; real numbers as C99 hexadecimal text."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["norm_epsilon"] = self.norm_epsilon.hex()
        parameters = {name: value.hex() for name, value in self.rope.parameters}
        values["rope"] = {"kind": self.rope.kind, "theta": self.rope.theta.hex(), "parameters": parameters}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")

    def digest(self) -> bytes:
        return sha256(_DOMAIN + self.canonical())


def _family(config: Config) -> Family:
    name = text(config, "model_type")
    family = FAMILIES.get(name)
    if family is None:
        known = ", ".join(FAMILIES)
        raise UnsupportedModel(f"model type {name!r} is not one of {known}", key="model_type", value=name)
    _refuse(config, "auto_map", "code that travels with a model is never run")
    _refuse(config, "quantization_config", "quantised checkpoints are not read: take the float16 or bfloat16 one")
    architectures = config.get("architectures") or [family.architecture]
    if architectures != [family.architecture]:
        message = f"architectures is {str(architectures)[:80]}, expected [{family.architecture!r}]"
        raise UnsupportedModel(message, key="architectures", value=architectures)
    activation = text(config, "hidden_act", "silu")
    if activation != "silu":
        raise UnsupportedModel(f"activation {activation!r}: only silu is built", key="hidden_act", value=activation)
    return family


def _refuse(config: Config, key: str, reason: str) -> None:
    if config.get(key) is not None:
        raise UnsupportedModel(f"config.json sets {key}: {reason}", key=key, value=config[key])


def _kv_heads(config: Config, heads: int) -> int:
    kv_heads = whole_number(config, "num_key_value_heads", 1, heads, heads)
    if heads % kv_heads:
        message = f"{heads} query heads cannot be shared out over {kv_heads} key/value heads"
        raise ConfigError(message, key="num_key_value_heads", value=kv_heads)
    return kv_heads


def _head_dim(config: Config, hidden: int, heads: int) -> int:
    if hidden % heads:
        message = f"hidden_size {hidden} is no multiple of {heads} heads"
        raise ConfigError(message, key="hidden_size", value=hidden)
    head_dim = whole_number(config, "head_dim", 2, MAX_HEAD_DIM, hidden // heads)
    if head_dim % 2:
        raise ConfigError(f"head_dim {head_dim} is odd: rotary embedding needs pairs", key="head_dim", value=head_dim)
    return head_dim


def _eos(config: Config, vocabulary: int) -> tuple[int, ...]:
    stated = config.get("eos_token_id")
    ids = [] if stated is None else stated if isinstance(stated, list) else [stated]
    if len(ids) > MAX_EOS_TOKENS:
        raise ConfigError(
            f"{len(ids)} end tokens, at most {MAX_EOS_TOKENS} are taken", key="eos_token_id", value=len(ids)
        )
    return tuple(whole_number({"eos_token_id": token}, "eos_token_id", 0, vocabulary - 1) for token in ids)


def _attention_biases(config: Config, family: Family) -> tuple[str, ...]:
    if family.biases == "query-key-value":
        return ("q", "k", "v")
    if family.biases == "configured" and truth(config, "attention_bias", False):
        return ("q", "k", "v", "o")
    return ()


def _sliding_window(config: Config, family: Family) -> int | None:
    if family.sliding == "optional":
        if "sliding_window" not in config:  # the families' own defaults differ between versions of transformers
            raise ConfigError("sliding_window is missing: write null for none", key="sliding_window")
        if config["sliding_window"] is not None:
            return whole_number(config, "sliding_window", 1, MAX_CONTEXT)
    if family.sliding == "refused" and truth(config, "use_sliding_window", False):
        raise UnsupportedModel(
            "use_sliding_window: windows that differ by block are not built", key="use_sliding_window"
        )
    _refuse_mixed_layers(config)
    return None


def _refuse_mixed_layers(config: Config) -> None:
    types = config.get("layer_types") or []
    if not isinstance(types, list) or any(kind != "full_attention" for kind in types):
        raise UnsupportedModel(f"layer_types {str(types)[:80]}: only full attention is built", key="layer_types")
