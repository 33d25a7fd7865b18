# ruff: noqa: E501  (a table row of the card is one line)
"""What train_demo_model.py writes: the tokenizer, the weights in two files with an index, and the model card."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaForCausalLM

from sharding.manifest import build_manifest, write_manifest

EOS = "<|endoftext|>"
PROMPT = "ROMEO:\n"

CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# The demonstration model

A Llama of {parameters:,} parameters that writes verse after Shakespeare. It exists so that a network of several nodes
can be tried on one machine without a download; it knows nothing and answers no questions.

| | |
|---|---|
| Shape | {blocks} blocks, hidden size {hidden}, {heads} query heads on {kv_heads} key/value heads of {head_dim}, feed-forward {feed_forward}, tied embeddings |
| Context | {context} tokens |
| Tokenizer | byte-level BPE, {vocabulary} entries, trained on the training part only; `{eos}` ends a document |
| Data | {source}: {training_tokens:,} tokens to train on, the last tenth of the text ({held_out_tokens:,} tokens) held out |
| Training | {steps} steps of {batch_tokens} tokens, float32, AdamW, cosine learning rate, dropout 0.1, {minutes:.0f} minutes on two shared processor cores, seed {seed} |
| Held-out loss | {loss:.4f} nats per token: perplexity {perplexity:.2f}, {bits_per_byte:.3f} bits per byte (float16 weights, windows of {context} tokens) |
| Files | float16 safetensors in two files: blocks 0 to {last_of_first} and the embedding, then the rest |

A sample (temperature 0.8, top-k 40), continuing `{prompt}`:

```text
{sample}
```

Limits: it imitates the form of verse, not its sense; names and speeches run together; text far from the plays,
in another language or longer than {context} tokens comes out as noise. The plays speak of violence and of people in
the terms of their century, and so may the model.

Made by `scripts/train_demo_model.py`; licence of the weights: Apache-2.0.
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What the training run has to say about itself; loss is in nats per token."""

    steps: int
    minutes: float
    batch_tokens: int
    context: int
    seed: int
    loss: float
    bits_per_byte: float
    training_tokens: int
    held_out_tokens: int
    source: str


def train_tokenizer(text: str, vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()  # every byte, so that no text is unknown
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def write_model(folder: Path, model: LlamaForCausalLM, tokenizer: Tokenizer, report: Report) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    sample = write_sample(model, tokenizer)
    write_weights(folder, model)
    write_json(folder / "config.json", plain_config(model))
    eos = tokenizer.token_to_id(EOS)
    GenerationConfig(bos_token_id=eos, eos_token_id=eos, pad_token_id=eos).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": EOS, "eos_token": EOS,
             "model_max_length": report.context, "clean_up_tokenization_spaces": False}  # fmt: skip
    write_json(folder / "tokenizer_config.json", about)
    (folder / "README.md").write_text(model_card(model, report, sample), encoding="utf-8")
    write_manifest(folder, build_manifest(folder, model="tallystick-demo"))


def write_weights(folder: Path, model: LlamaForCausalLM) -> None:
    """float16, tied head left out; the first file holds the embedding and the first half of the blocks."""
    half = model.config.num_hidden_layers // 2
    files: dict[str, dict[str, torch.Tensor]] = {f"model-0000{n}-of-00002.safetensors": {} for n in (1, 2)}
    first, second = files
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        parts = name.split(".")
        early = name.startswith("model.embed") or (parts[1] == "layers" and int(parts[2]) < half)
        files[first if early else second][name] = tensor.half().contiguous()
    for name, tensors in files.items():
        save_file(tensors, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)  # the library makes it readable by its owner alone
    weight_map = {tensor: name for name, tensors in files.items() for tensor in tensors}
    total = sum(tensor.nbytes for tensors in files.values() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / "model.safetensors.index.json", index)


def plain_config(model: LlamaForCausalLM) -> dict[str, object]:
    config = {**model.config.to_dict(), "architectures": ["LlamaForCausalLM"], "dtype": "float16"}
    return {key: value for key, value in sorted(config.items()) if value is not None and not key.startswith("_")}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@torch.inference_mode()
def write_sample(model: LlamaForCausalLM, tokenizer: Tokenizer) -> str:
    torch.manual_seed(3)
    ids = torch.tensor([tokenizer.encode(PROMPT).ids])
    output = model.generate(ids, max_new_tokens=180, do_sample=True, temperature=0.8, top_k=40, pad_token_id=0)
    return tokenizer.decode(output[0].tolist()).strip()


def model_card(model: LlamaForCausalLM, report: Report, sample: str) -> str:
    config = model.config
    return CARD.format(
        parameters=sum(p.numel() for p in model.parameters()), blocks=config.num_hidden_layers, hidden=config.hidden_size,
        heads=config.num_attention_heads, kv_heads=config.num_key_value_heads, head_dim=config.head_dim,
        feed_forward=config.intermediate_size, vocabulary=config.vocab_size, eos=EOS.replace("|", "\\|"), source=report.source, context=report.context,
        training_tokens=report.training_tokens, held_out_tokens=report.held_out_tokens, steps=report.steps,
        batch_tokens=report.batch_tokens, minutes=report.minutes, seed=report.seed, loss=report.loss,
        perplexity=math.exp(report.loss), bits_per_byte=report.bits_per_byte,
        last_of_first=config.num_hidden_layers // 2 - 1, prompt=PROMPT.strip(), sample=sample,
    )  # fmt: skip
