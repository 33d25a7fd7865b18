"""Train the demonstration model on one text file: a Llama with grouped-query attention, 3.3 million parameters.

    python scripts/train_demo_model.py --text FILE --output models/demo --minutes 35

The last tenth of the text is held out: neither the tokenizer nor the weights ever see it. The checkpoint with the
best held-out loss is the one that is written, as float16 safetensors in two files, so that a span can be read alone.
"""

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from demo_files import EOS, Report, write_model
from demo_recipe import (
    BATCH_TOKENS,
    CONTEXT,
    Data,
    build_model,
    build_optimizer,
    held_out_loss,
    learning_rate,
    random_batch,
    read_data,
)
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import LlamaForCausalLM

EVALUATE_EVERY = 150
EVALUATE_WINDOWS = 24  # a quarter of what is held out; the written model is judged on all of it


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
        rate = learning_rate(step, progress, args.learning_rate)
        smooth += 0.02 * (train_step(model, optimizer, random_batch(data.training, progress), rate) - smooth)
        step += 1
        progress = max(step / args.steps, (time.monotonic() - began) / (60 * args.minutes))
        bar.update(task, completed=progress, description=f"step {step} loss {smooth:.3f} best held out {best:.3f}")
        if step % EVALUATE_EVERY == 0 or progress >= 1.0:
            loss = held_out_loss(model, data.held_out, EVALUATE_WINDOWS)
            bar.console.print(
                f"step {step}: training {smooth:.4f} held out {loss:.4f} ({time.monotonic() - began:.0f} s)"
            )
            if loss < best:
                best, best_weights = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return step


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the demonstration model on one text file.")
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text to learn from")
    parser.add_argument("--source", default="plays of William Shakespeare (public domain)", help="for the model card")
    parser.add_argument("--output", type=Path, default=Path("models/demo"))
    parser.add_argument("--minutes", type=float, default=35.0, help="stop after this long (at most 45)")
    parser.add_argument("--steps", type=int, default=1900)
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
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()) as bar:
        steps = train(model, data, args, bar)
    minutes = (time.monotonic() - began) / 60
    for parameter in model.parameters():  # judge what is written, not what was trained
        parameter.data = parameter.data.half().float()
    loss = held_out_loss(model, data.held_out)
    report = Report(
        steps=steps, minutes=minutes, batch_tokens=BATCH_TOKENS, context=CONTEXT, seed=args.seed, loss=loss,
        bits_per_byte=loss * len(data.held_out) / data.held_out_bytes / math.log(2),
        training_tokens=len(data.training), held_out_tokens=len(data.held_out), source=args.source,
    )  # fmt: skip
    write_model(args.output, model, tokenizer, report)
    print(f"held-out loss {loss:.4f}, perplexity {math.exp(loss):.2f}; written to {args.output}")


if __name__ == "__main__":
    main()
