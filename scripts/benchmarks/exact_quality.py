"""`exact-quality`: perplexity of the float model and of the exact one made from it, on the same text.

The demo model is measured on the last tenth of a text (`--text`, the one it was trained on), or without one on text sampled
from the float model itself. Then a small checkpoint of each family, random but not meek: sharp logits, and outlier channels
put in, both kinds that real models have. Text for those is sampled from their own float model by fixed seeds, so that a
perplexity far below the vocabulary's size is theirs to lose. Agreement is the share of positions at which both models'
likeliest token is the same.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from sharding.exact.arithmetic import Part
from sharding.exact.kernels import choose_arithmetic
from sharding.exact.load import load_exact_span
from sharding.exact.quantise import quantise
from sharding.families import FAMILIES
from sharding.manifest import MANIFEST_FILE, build_manifest, read_manifest, write_manifest
from sharding.random_model import RandomShape, write_random_model
from sharding.spec import ModelSpec
from sharding.tokenizer import Tokenizer

DEMO = Path(__file__).resolve().parents[2] / "models" / "demo"
WINDOW = 256
OUTLIER_CHANNELS, GAIN_OUTLIER, RESIDUAL_OUTLIER = 2, 64.0, 24.0


@dataclass(frozen=True)
class Quality:
    """Perplexities over `tokens` predictions; agreement over as many."""

    ppl_float: float
    ppl_exact: float
    agreement: float
    tokens: int

    @property
    def ratio(self) -> float:
        return self.ppl_exact / self.ppl_float


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Measure the demo model, then each family."""
    parser = argparse.ArgumentParser(prog="exact-quality")
    parser.add_argument("--text", type=Path, help="the text that the demo model was trained on; its last tenth is used")
    parser.add_argument("--tokens", type=int, default=16 * WINDOW, help="of sampled text, for each model")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        folder = Path(name)
        demo = _measure(DEMO, folder / "demo-exact", _demo_text(options.text, options.tokens))
        say(f"demo: {demo}")
        families = {}
        for family in FAMILIES:
            source = outlier_model(folder / family, family)
            families[family] = _measure(source, folder / f"{family}-exact", _sampled(source, options.tokens))
            say(f"{family}: {families[family]}")
    return {
        "ppl_float": round(demo.ppl_float, 5), "ppl_exact": round(demo.ppl_exact, 5), "ppl_ratio": round(demo.ratio, 6),
        "greedy_agreement": round(demo.agreement, 5), "tokens": demo.tokens,
        "text": "sampled" if options.text is None else "held out",
        "families": {
            family: {"ppl_float": round(q.ppl_float, 4), "ppl_exact": round(q.ppl_exact, 4), "ppl_ratio": round(q.ratio, 6),
                     "greedy_agreement": round(q.agreement, 4), "tokens": q.tokens}
            for family, q in families.items()
        },
        "worst_ratio": round(max([demo.ratio, *(q.ratio for q in families.values())]), 6),
    }  # fmt: skip


def outlier_model(folder: Path, family: str) -> Path:
    """A random checkpoint with outliers: channels that a norm blows up and weights shrink, and channels large in the residual."""
    shape = RandomShape(
        family=family, num_hidden_layers=4, hidden_size=128, intermediate_size=320, num_attention_heads=8, num_key_value_heads=2,
        vocab_size=512, max_position_embeddings=512, tie_word_embeddings=family in ("llama", "qwen3"),
        more={"initializer_range": 0.09, "head_dim": 16} | ({"attention_bias": True} if family == "qwen3" else {})
        | ({"sliding_window": None} if family == "mistral" else {}),
    )  # fmt: skip
    write_random_model(folder, shape, seed=11)
    path = folder / "model.safetensors"
    weights = load_file(path)
    _inject(weights, shape.num_hidden_layers)
    save_file(weights, path, metadata={"format": "pt"})
    (folder / MANIFEST_FILE).unlink()
    write_manifest(folder, build_manifest(folder))
    return folder


def _inject(weights: dict[str, Tensor], blocks: int) -> None:
    gains, residual = [5, 77][:OUTLIER_CHANNELS], [30, 101][:OUTLIER_CHANNELS]
    weights["model.embed_tokens.weight"][:, residual] *= RESIDUAL_OUTLIER
    for index in range(blocks):
        block = f"model.layers.{index}."
        readers = {
            "input_layernorm": [f"self_attn.{name}_proj.weight" for name in "qkv"],
            "post_attention_layernorm": ["mlp.gate_proj.weight", "mlp.up_proj.weight"],
        }
        for norm, matrices in readers.items():
            weights[f"{block}{norm}.weight"][gains] *= GAIN_OUTLIER
            weights[f"{block}{norm}.weight"][residual] /= RESIDUAL_OUTLIER
            for matrix in matrices:
                weights[block + matrix][:, gains] /= GAIN_OUTLIER
        for matrix in ("self_attn.o_proj.weight", "mlp.down_proj.weight"):
            weights[block + matrix][residual] *= RESIDUAL_OUTLIER
        if f"{block}self_attn.k_proj.bias" in weights:
            weights[f"{block}self_attn.k_proj.bias"][[3, 20]] += 12.0
    weights["model.norm.weight"] *= (
        3.0 if "lm_head.weight" not in weights else 6.0
    )  # a tied head knows its tokens anyway
    weights["model.norm.weight"][residual] /= RESIDUAL_OUTLIER


def _demo_text(path: Path | None, tokens: int) -> Tensor:
    if path is None:
        return _sampled(DEMO, tokens)
    text = path.read_text(encoding="utf-8")
    return torch.tensor(Tokenizer.from_folder(DEMO).encode(text[len(text) * 9 // 10 :]))


def _sampled(source: Path, tokens: int) -> Tensor:
    """Text of the float model's own, windows one after the other, at temperature 1."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    random = torch.Generator().manual_seed(5)
    batch = tokens // WINDOW
    ids = torch.randint(0, model.config.vocab_size, (batch, 1), generator=random)
    past, step = None, ids
    with torch.inference_mode():
        while ids.shape[1] < WINDOW:
            made = model(step, past_key_values=past, use_cache=True)
            past = made.past_key_values
            step = torch.multinomial(torch.softmax(made.logits[:, -1].double(), dim=-1), 1, generator=random)
            ids = torch.cat((ids, step), dim=1)
    return ids.reshape(-1)


def _measure(source: Path, target: Path, text: Tensor) -> Quality:
    quantise(source, target)
    spec = ModelSpec.from_folder(target)
    exact = choose_arithmetic(load_exact_span(target, spec, spec.whole, read_manifest(target)))
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    lost, agreed, count = {"float": 0.0, "exact": 0.0}, 0, 0
    for window in text[: len(text) // WINDOW * WINDOW].split(WINDOW):
        with torch.inference_mode():
            logits = {"float": model(window[None]).logits[0].double()}
        rows, part = exact.embed(window), [Part(exact.make_cache(WINDOW), 0, WINDOW, 0)]
        for place in range(spec.num_blocks):
            rows = exact.block(place, rows, part)
        logits["exact"] = exact.logits(rows).double() / 65536
        for name, each in logits.items():
            lost[name] += float(cross_entropy(each[:-1], window[1:], reduction="sum"))
        agreed += int((logits["float"].argmax(-1) == logits["exact"].argmax(-1))[:-1].sum())
        count += WINDOW - 1
    return Quality(math.exp(lost["float"] / count), math.exp(lost["exact"] / count), agreed / count, count)
