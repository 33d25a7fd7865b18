"""Train the demonstration model on one text file: a Llama with grouped-query attention, 3.3 million parameters.

    python scripts/train_demo_model.py --text FILE --output models/demo --minutes 35

The last tenth of the text is held out: neither the tokenizer nor the weights ever see it. The checkpoint with the
best held-out loss is the one that is written, as float16 safetensors in two files, so that a span can be read alone.
"""

import argparse
import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from demo_files import EOS, Report, train_tokenizer, write_model
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT = 512
SHORT_CONTEXT = 256  # most steps: attention is cheaper, and the long positions need only the last third
BATCH_TOKENS = 2048
EVALUATE_EVERY = 150
DROPOUT = 0.1


@dataclass(frozen=True, slots=True)
class Data:
    """The two parts of the text as token ids, (tokens,) int64 each."""

    training: torch.Tensor
    held_out: torch.Tensor
    held_out_bytes: int


def read_data(text: str, vocab_size: int) -> tuple[Tokenizer, Data]:
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
    for layer in model.model.layers:  # Llama has no dropout of its own; nine passes over one megabyte need some
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
    """Linear over the first 60 steps, then a cosine down to a fiftieth of the peak at progress 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / 60) * (0.02 + 0.98 * cosine)


def random_batch(ids: torch.Tensor, length: int) -> torch.Tensor:
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


def train_step(model: LlamaForCausalLM, optimizer: torch.optim.AdamW, batch: torch.Tensor, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = model(batch, labels=batch, use_cache=False).loss
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def train(model: LlamaForCausalLM, data: Data, args: argparse.Namespace, bar: Progress) -> int:
    """Train until the steps or the minutes are used up, leave the best weights in the model, return the steps taken."""
    optimizer, best, best_weights = build_optimizer(model), math.inf, copy.deepcopy(model.state_dict())
    task, began, step, progress, smooth = bar.add_task("training", total=1.0), time.monotonic(), 0, 0.0, 7.0
    while progress < 1.0:
        length = SHORT_CONTEXT if progress < 2 / 3 else CONTEXT
        rate = learning_rate(step, progress, args.learning_rate)
        smooth += 0.02 * (train_step(model, optimizer, random_batch(data.training, length), rate) - smooth)
        step += 1
        progress = max(step / args.steps, (time.monotonic() - began) / (60 * args.minutes))
        bar.update(task, completed=progress, description=f"step {step} loss {smooth:.3f} best held out {best:.3f}")
        if step % EVALUATE_EVERY == 0 or progress >= 1.0:
            loss = held_out_loss(model, data.held_out, windows=24)
            bar.console.print(
                f"step {step}: training {smooth:.4f} held out {loss:.4f} ({time.monotonic() - began:.0f} s)"
            )
            if loss < best:
                best, best_weights = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return step


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text to learn from")
    parser.add_argument("--output", type=Path, default=Path("models/demo"))
    parser.add_argument("--minutes", type=float, default=35.0, help="stop after this long (at most 45)")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=2.5e-3)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    if not 0 < args.minutes <= 45 or args.steps < 1:
        parser.error(f"--minutes must lie in (0, 45] and --steps be positive: got {args.minutes} and {args.steps}")
    return args


def main() -> None:
    args = parse_arguments()
    torch.manual_seed(args.seed)
    tokenizer, data = read_data(args.text.read_text(encoding="utf-8"), args.vocab_size)
    model = build_model(tokenizer.get_vocab_size(), tokenizer.token_to_id(EOS))
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        steps = train(model, data, args, bar)
    model.half().float()  # judge what is written, not what was trained
    loss = held_out_loss(model, data.held_out)
    report = Report(
        steps=steps, minutes=(time.monotonic() - began) / 60, batch_tokens=BATCH_TOKENS, context=CONTEXT, seed=args.seed,
        loss=loss, bits_per_byte=loss * len(data.held_out) / data.held_out_bytes / math.log(2),
        training_tokens=len(data.training), held_out_tokens=len(data.held_out),
    )  # fmt: skip
    write_model(args.output, model, tokenizer, report)
    print(f"held-out loss {loss:.4f}, perplexity {math.exp(loss):.2f}; written to {args.output}")


if __name__ == "__main__":
    main()
