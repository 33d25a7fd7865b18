"""The model families that can be served: the one place that knows how they differ.

All four share a decoder block of RMSNorm, rotary attention with grouped queries, and a gated feed-forward; what
differs is which projections have biases, whether queries and keys are normalised, and the sliding window.
"""

from dataclasses import dataclass
from typing import Literal

Biases = Literal["never", "configured", "query-key-value"]


@dataclass(frozen=True, slots=True)
class Family:
    """prefix and module say where transformers keeps the layers: module.{prefix}DecoderLayer and so on.

    biases: "configured" obeys config.json's attention_bias for all four projections. sliding: "optional" obeys
    sliding_window for every block; "refused" takes no model that switches a window on.
    """

    name: str
    prefix: str
    biases: Biases
    qk_norm: bool
    sliding: Literal["never", "optional", "refused"]
    mlp_bias: bool = False

    @property
    def architecture(self) -> str:
        return f"{self.prefix}ForCausalLM"

    @property
    def module(self) -> str:
        return f"transformers.models.{self.name}.modeling_{self.name}"

    @property
    def config_module(self) -> str:
        return f"transformers.models.{self.name}.configuration_{self.name}"


FAMILIES = {
    family.name: family
    for family in (
        Family("llama", "Llama", biases="configured", qk_norm=False, sliding="never", mlp_bias=True),
        Family("mistral", "Mistral", biases="never", qk_norm=False, sliding="optional"),
        Family("qwen2", "Qwen2", biases="query-key-value", qk_norm=False, sliding="refused"),
        Family("qwen3", "Qwen3", biases="configured", qk_norm=True, sliding="refused"),
    )
}
