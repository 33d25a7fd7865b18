"""The tiny models of these tests: four blocks, grouped queries, every family, large enough weights to disagree."""

from typing import Any

from sharding.random_model import RandomShape

TINY_FILE_BYTES = 100_000  # the tiny models need several files of this size
BLOCKS = 4

_FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 32},  # not hidden_size / heads: a stage that assumes so fails
}
FAMILY_NAMES = tuple(_FAMILIES)


def tiny(family: str = "llama", *, tied: bool = True, **more: Any) -> RandomShape:
    return RandomShape(
        family=family,
        num_hidden_layers=BLOCKS,
        hidden_size=64,
        intermediate_size=96,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=256,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        more={"initializer_range": 0.2, **_FAMILIES[family], **more},
    )
