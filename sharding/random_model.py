"""Random checkpoints of a given shape, for benchmarks and tests: the right sizes, no sense."""

from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from sharding.families import FAMILIES
from sharding.manifest import build_manifest, write_manifest


@dataclass(frozen=True, slots=True)
class RandomShape:
    """A model's numbers under config.json's names; more holds what only some families know.

    The default is the benchmark's Llama: 12 blocks of 768, 97.5 million parameters with its tied embedding.
    """

    family: str = "llama"
    num_hidden_layers: int = 12
    hidden_size: int = 768
    intermediate_size: int = 2048
    num_attention_heads: int = 12
    num_key_value_heads: int = 12
    vocab_size: int = 16384
    max_position_embeddings: int = 2048
    tie_word_embeddings: bool = True
    more: dict[str, Any] = field(default_factory=dict)


def write_random_model(
    folder: Path,
    shape: RandomShape | None = None,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    max_file_bytes: int = 5_000_000_000,
) -> Path:
    """Write config.json, safetensors (an index where more than one file) and the manifest; return the folder.

    The same seed gives the same weights. The random state of the caller is left as it was.
    """
    numbers = asdict(shape or RandomShape())
    family = FAMILIES[numbers.pop("family")]
    numbers |= {"eos_token_id": None, "bos_token_id": None} | numbers.pop("more")
    config = getattr(import_module(family.config_module), f"{family.prefix}Config")(**numbers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(import_module(family.module), family.architecture)(config)
        _disturb(model)
    model.to(dtype).save_pretrained(folder, max_shard_size=max_file_bytes)
    write_manifest(folder, build_manifest(folder))
    return folder


def _disturb(model: torch.nn.Module) -> None:
    """Move gains and biases off the one and zero they begin with, so that a forgotten one shows."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
