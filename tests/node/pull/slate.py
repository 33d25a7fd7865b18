"""A small model as a repository holds it: four blocks in four files, among files that must be left alone."""

import json

from node.pull import INDEX
from tests.node.pull.fake_hub import FakeHub, FakeRepo

REPO = "quarry/slate"
COMMIT, LATER = "a" * 40, "b" * 40
BLOCKS = 4
PARTS = tuple(f"model-0000{n}-of-00004.safetensors" for n in (1, 2, 3, 4))
PLACES = {"model.embed_tokens.weight": 0, "model.norm.weight": 3, "lm_head.weight": 3}
"""Tensors outside the blocks, and the part that holds each; block b is in part b but for block 1, which is split."""
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 64,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "float16",
}
SMALL = {
    "generation_config.json": b"{}",
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "tallystick.json": b"{}",
}
NEVER = {
    "pytorch_model.bin": b"\x80\x02",
    "consolidated.00.pth": b"\x80\x02",
    "modeling_slate.py": b"raise SystemExit",
    "README.md": b"# Slate",
    "training_args.bin": b"\x80\x02",
}


def weight_map() -> dict[str, str]:
    """Llama's names, spread over four files; block 1 lies in the parts 1 and 2."""
    attention = [f"self_attn.{name}_proj.weight" for name in "qkvo"]
    others = ["input_layernorm.weight", "post_attention_layernorm.weight"]
    feed_forward = [f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")]
    places = {name: PARTS[part] for name, part in PLACES.items()}
    for block in range(BLOCKS):
        for name in attention + others + feed_forward:
            part = 2 if block == 1 and name.startswith("mlp") else block
            places[f"model.layers.{block}.{name}"] = PARTS[part]
    return places


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def sharded(**files: bytes) -> dict[str, bytes]:
    """The files of a model in four parts, among others that must be left alone."""
    weights = {name: name.encode() * 50 for name in PARTS}
    index = {INDEX: as_json({"metadata": {}, "weight_map": weight_map()})}
    return {"config.json": as_json(CONFIG), **SMALL, **NEVER, **index, **weights, **files}


def publish(server: FakeHub) -> None:
    """Put the model on the hub."""
    server.repos[REPO] = FakeRepo({COMMIT: sharded()}, {"main": COMMIT})


def files_of(server: FakeHub) -> dict[str, bytes]:
    return server.repos[REPO].commits[COMMIT]


def weights(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".safetensors")]
