"""Which tensors a model has, by the names of the Hugging Face checkpoints, and which of them a span needs."""

from sharding.families import FAMILIES
from sharding.span import Span
from sharding.spec import ModelSpec

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
HEAD = "lm_head.weight"


def block_prefix(index: int) -> str:
    return f"model.layers.{index}."


def block_tensors(spec: ModelSpec, index: int) -> Shapes:
    """Names within the checkpoint and shapes (out, in) of one block, in the order of their names."""
    shapes = _attention(spec) | _feed_forward(spec)
    shapes |= {"input_layernorm.weight": (spec.hidden_size,), "post_attention_layernorm.weight": (spec.hidden_size,)}
    return {block_prefix(index) + name: shapes[name] for name in sorted(shapes)}


def embedding_tensors(spec: ModelSpec) -> Shapes:
    return {EMBEDDING: (spec.vocab_size, spec.hidden_size)}


def head_tensors(spec: ModelSpec) -> Shapes:
    """The final norm and the output matrix; with tied embeddings that matrix is the embedding itself."""
    return {head_matrix(spec): (spec.vocab_size, spec.hidden_size), FINAL_NORM: (spec.hidden_size,)}


def head_matrix(spec: ModelSpec) -> str:
    return EMBEDDING if spec.tied_embeddings else HEAD


def span_tensors(spec: ModelSpec, span: Span) -> Shapes:
    """Everything a stage over the span must hold. Raises SpanError where the model has no such blocks."""
    span.within(spec.num_blocks)
    shapes: Shapes = embedding_tensors(spec) if span.start == 0 else {}
    for index in span.blocks:
        shapes |= block_tensors(spec, index)
    return shapes | head_tensors(spec) if span.end == spec.num_blocks else shapes


def _attention(spec: ModelSpec) -> Shapes:
    queries, keys = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    rows = {"q": queries, "k": keys, "v": keys, "o": spec.hidden_size}
    columns = {"q": spec.hidden_size, "k": spec.hidden_size, "v": spec.hidden_size, "o": queries}
    shapes: Shapes = {f"self_attn.{name}_proj.weight": (rows[name], columns[name]) for name in "qkvo"}
    shapes |= {f"self_attn.{name}_proj.bias": (rows[name],) for name in spec.attention_biases}
    if FAMILIES[spec.family].qk_norm:
        shapes |= {f"self_attn.{name}_norm.weight": (spec.head_dim,) for name in "qk"}
    return shapes


def _feed_forward(spec: ModelSpec) -> Shapes:
    wide, narrow = spec.intermediate_size, spec.hidden_size
    shapes: Shapes = {"mlp.gate_proj.weight": (wide, narrow), "mlp.up_proj.weight": (wide, narrow)}
    shapes |= {"mlp.down_proj.weight": (narrow, wide)}
    if spec.mlp_bias:
        shapes |= {"mlp.gate_proj.bias": (wide,), "mlp.up_proj.bias": (wide,), "mlp.down_proj.bias": (narrow,)}
    return shapes
