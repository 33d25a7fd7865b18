"""What train_demo_model.py trains and how: data, architecture, optimiser, schedule."""

import math
from dataclasses import dataclass

import torch
from demo_files import EOS, train_tokenizer
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT = 512
SHORT_CONTEXT = 256  # most steps: attention is cheaper, and the long positions need only the last third
BATCH_TOKENS = 2048
DROPOUT = 0.1
WARM_UP_STEPS = 60


@dataclass(frozen=True, slots=True)
class Data:
    """The two parts of the text as token ids, (tokens,) int64 each."""

    training: torch.Tensor
    held_out: torch.Tensor
    held_out_bytes: int


def read_data(text: str, vocab_size: int) -> tuple[Tokenizer, Data]:
    """Keep the last tenth apart; the tokenizer learns from the rest alone."""
    cut = len(text) * 9 // 10
    tokenizer = train_tokenizer(text[:cut], vocab_size)
    eos = tokenizer.token_to_id(EOS)
    parts = [torch.tensor([*tokenizer.encode(part).ids, eos]) for part in (text[:cut], text[cut:])]
    return tokenizer, Data(parts[0], parts[1], len(text[cut:].encode()))


def build_model(vocab_size: int, eos: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocab_size, hidden_size=192, intermediate_size=512, num_hidden_layers=8, num_attention_heads=6,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
        bos_token_id=eos, eos_token_id=eos, rms_norm_eps=1e-5,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for layer in model.model.layers:  # Llama has no dropout of its own; several passes over one megabyte need some
        for branch in (layer.self_attn, layer.mlp):
            branch.register_forward_hook(drop_out)
    return model


def drop_out(module: torch.nn.Module, _inputs: object, output: object) -> object:
    if isinstance(output, tuple):
        return (functional.dropout(output[0], DROPOUT, module.training), *output[1:])
    return functional.dropout(output, DROPOUT, module.training)


def build_optimizer(model: LlamaForCausalLM) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    gains = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Linear over the first steps, then a cosine down to a fiftieth of the peak at progress 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * cosine)


def random_batch(ids: torch.Tensor, progress: float) -> torch.Tensor:
    """(rows, context) of BATCH_TOKENS tokens from random places; the context grows for the last third."""
    length = SHORT_CONTEXT if progress < 2 / 3 else CONTEXT
    starts = torch.randint(0, len(ids) - length, (BATCH_TOKENS // length,)).tolist()
    return torch.stack([ids[start : start + length] for start in starts])


@torch.inference_mode()
def held_out_loss(model: LlamaForCausalLM, ids: torch.Tensor, windows: int | None = None) -> float:
    """Mean cross-entropy in nats per token over windows of CONTEXT tokens side by side; None is all of them."""
    model.eval()
    count = min((len(ids) - 1) // CONTEXT, windows or len(ids))
    total = 0.0
    for index in range(count):
        window = ids[index * CONTEXT : (index + 1) * CONTEXT + 1]
        logits = model(window[None, :-1], use_cache=False).logits[0]
        total += functional.cross_entropy(logits, window[1:]).item()
    model.train()
    return total / count
