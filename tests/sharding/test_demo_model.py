"""The committed demonstration model: sound, small, and speaking verse."""

import itertools
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from sharding.float_engine import FloatEngine
from sharding.manifest import build_manifest, read_manifest
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.tokenizer import Tokenizer
from tests.sharding.chains import feed, greedy, open_all

FOLDER = Path(__file__).parents[2] / "models" / "demo"
PROMPT = "ROMEO:\nBut soft, what light"
VERSE = "My lord, I will not speak of this.\n\nKING:\nWhat, is he dead? Then let him come to me,\nAnd I shall give him thanks.\n"


@pytest.fixture(scope="module")
def stages() -> list[FloatEngine]:
    edges = (0, 3, 5, ModelSpec.from_folder(FOLDER).num_blocks)
    return [FloatEngine.from_folder(FOLDER, Span(start, end)) for start, end in itertools.pairwise(edges)]


def test_the_manifest_is_the_weights() -> None:
    """Built again it is the committed one, to the root."""
    assert build_manifest(FOLDER, model="tallystick-demo") == read_manifest(FOLDER)


def test_it_is_small_and_in_two_files() -> None:
    """Under 16 MB, and sharded, so that a span can be read alone."""
    files = sorted(FOLDER.glob("*.safetensors"))
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) < 16_000_000


def test_three_stages_say_what_transformers_says(stages: list[FloatEngine]) -> None:
    """Forty tokens from text to text, through the package's tokenizer and through transformers' own."""
    ours = Tokenizer.from_folder(FOLDER)
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    theirs = AutoTokenizer.from_pretrained(FOLDER)
    ids = theirs(PROMPT, return_tensors="pt")["input_ids"]
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, min_new_tokens=40, do_sample=False, pad_token_id=0
    )

    prompt = ours.encode(PROMPT)
    assert prompt == ids[0].tolist()
    assert ours.decode(prompt + greedy(stages, prompt, 40)) == theirs.decode(output[0])


def test_it_expects_verse(stages: list[FloatEngine]) -> None:
    """Lines it never saw cost it half of what guessing costs."""
    tokens = Tokenizer.from_folder(FOLDER).encode(VERSE)
    open_all(stages, b"verse", len(tokens))
    logits = torch.stack([feed(stages, b"verse", torch.tensor([token])) for token in tokens[:-1]])
    for stage in stages:
        stage.close(b"verse")

    assert cross_entropy(logits, torch.tensor(tokens[1:])) < torch.log(torch.tensor(1024.0)) / 2
