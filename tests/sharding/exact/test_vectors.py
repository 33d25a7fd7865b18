"""The golden vectors: the reference's numbers, and everybody else's too."""

import sys
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scripts import make_exact_vectors
from sharding.errors import KernelRefused
from sharding.exact.arithmetic import Part
from sharding.exact.constants import score_constant
from sharding.exact.kernels import KERNELS
from sharding.exact.model import ExactBlock, ExactSpan, Matrix, Norm
from sharding.rope import Rope
from sharding.span import Span
from sharding.spec import ModelSpec
from tests.sharding.exact import witness
from tests.sharding.exact.golden import FOLDER, Case, golden
from tests.sharding.exact.witness import Head, Refused
from tests.sharding.exact.witness_block import WitnessBlock

Answer = dict[str, Any]


@pytest.mark.parametrize("name", make_exact_vectors.MAKERS)
def test_each_file_is_what_the_reference_computes(name: str) -> None:
    """Byte for byte, so that no change of the reference goes by unseen."""
    text = make_exact_vectors.render(make_exact_vectors.MAKERS[name]())
    assert text == (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def _pack(case: Case) -> Answer:
    packed = witness.pack(case["t"], case["g"])
    assert max(map(abs, packed.x)) <= 32639
    assert sum(map(abs, packed.x)) <= 2**24
    return {"x": packed.x, "f": packed.fraction}


def _norm(case: Case) -> Answer:
    steps = witness.norm(case["r"], case["E0"])
    assert 2**30 <= steps.root < 2**31
    assert steps.inverse <= 2**30
    packed = witness.norm_packed(case["r"], case["E0"], case["G"], case["c"])
    return {"n": steps.n, "x": packed.x, "f": packed.fraction}


def _head_norm(case: Case) -> Answer:
    return {"result": [witness.head_norm(head, case["E0"], case["G"], case["c"]) for head in case["y"]]}


def _project(case: Case) -> Answer:
    return {"y": witness.project(*(case[name] for name in ("x", "f", "w", "M", "S", "b")))}


def _compress(case: Case) -> Answer:
    head = witness.compress(case["y"])
    return {"e": head.exponent, "h": head.h}


def heads(exponents: Sequence[int], rows: Sequence[Sequence[int]]) -> list[Head]:
    return [Head(e, list(row)) for e, row in zip(exponents, rows, strict=True)]


def _attend(case: Case) -> Answer:
    keys, values = heads(case["ke"], case["kh"]), heads(case["ve"], case["vh"])
    answer = witness.attend(Head(case["qe"], case["qh"]), keys, values, case["c"])
    return {"z": answer.z, "p": answer.p, "o": answer.o}


def _noise_key(case: Case) -> Answer:
    seed, position = case["seed"], case["position"]
    noise = [witness.noise(seed, position, i) for i in case["ids"]]
    return {"key": witness.noise_key(seed, position), "noise": noise}


def _choose(case: Case) -> Answer:
    if case["T"] == 0:
        return {"token": case["logits"].index(max(case["logits"]))}
    choice = witness.choose(case["logits"], case["tau"], case["pi"], case["top_k"])
    noise = {i: witness.noise(case["seed"], case["position"], i) for i in choice.ids}
    tau, pi = (max(1, round(case[name] * 65536)) for name in ("T", "top_p"))
    scores = [case["logits"][i] * 65536 + case["tau"] * noise[i] for i in choice.ids]
    token = min(i for i, score in zip(choice.ids, scores, strict=True) if score == max(scores))
    return {"tau": tau, "pi": pi, "ids": sorted(choice.ids), "token": token}


WITNESSES: dict[str, Callable[[Case], Answer]] = {
    "rsh": lambda case: {"result": witness.rsh(case["a"], case["s"])},
    "exp2": lambda case: {"P": witness.mantissa(case["y"])},
    "pack": _pack,
    "dot_weights": lambda case: {"dot": witness.dot(case["w"], case["x"])},
    "dot_heads": lambda case: {"dot": witness.dot(case["a"], case["b"])},
    "norm": _norm,
    "head_norm": _head_norm,
    "project": _project,
    "rotate": lambda case: {"result": [witness.rotate(head, case["table"]) for head in case["y"]]},
    "compress": _compress,
    "attend": _attend,
    "gate": lambda case: {"h": witness.gate(case["g"], case["u"])},
    "add": lambda case: {"result": witness.bounded([case["r"] + case["y"]])[0]},
    "embed": lambda case: {"result": witness.embed(case["w"], case["C"], case["M"], case["s"])},
    "noise_key": _noise_key,
    "noise_index": lambda case: {"index": witness.noise_index(case["key"], case["id"])},
    "choose": _choose,
}


@pytest.mark.parametrize("name", WITNESSES)
def test_plain_whole_numbers_straight_from_the_specification_agree(name: str) -> None:
    """Every result and every refusal of every case."""
    for case in golden(name):
        try:
            found = WITNESSES[name](case)
        except Refused as refusal:
            found = {"error": refusal.error}
        assert case | found == case
        assert ("error" in found) == ("error" in case)


@pytest.mark.parametrize("name", ["head_norm", "project", "compress", "gate", "add", "embed"])
def test_whatever_can_be_refused_has_a_vector_that_is(name: str) -> None:
    """An operation with a limit has cases on both sides of it."""
    refused = ["error" in case for case in golden(name)]
    assert any(refused)
    assert not all(refused)


def _tensor(case: Case, name: str, dtype: torch.dtype) -> Tensor:
    return torch.tensor(case[name], dtype=dtype)


def _gains(case: Case, name: str) -> Norm | None:
    return Norm(_tensor(case, f"{name}.gain", torch.int32), case[f"{name}.shift"]) if f"{name}.gain" in case else None


def _matrix(case: Case, name: str) -> Matrix:
    bias = _tensor(case, f"{name}.bias", torch.int32) if f"{name}.bias" in case else None
    weight, scale = _tensor(case, f"{name}.weight", torch.int8), _tensor(case, f"{name}.scale", torch.int32)
    return Matrix(weight, scale, case[f"{name}.shift"], bias)


def _span(case: Case) -> ExactSpan:
    """The middle block of a model of three: it needs neither embedding nor head."""
    spec = ModelSpec(
        family=case["family"], num_blocks=3, hidden_size=case["H"], num_heads=case["num_heads"],
        num_kv_heads=case["num_kv_heads"], head_dim=case["d"], intermediate_size=case["K"], vocab_size=32,
        max_positions=len(case["rope.table"]), tied_embeddings=True, eos_token_ids=(), norm_epsilon=case["epsilon"],
        rope=Rope("default", case["theta"]), attention_biases=tuple(case["biases"]), sliding_window=case["window"],
    )  # fmt: skip
    gains = {name: _gains(case, name) for name in ("attention_norm", "q_norm", "k_norm", "mlp_norm")}
    matrices = {name: _matrix(case, name) for name in ("qkv", "o", "gate_up", "down")}
    block = ExactBlock(**gains, **matrices)  # type: ignore[arg-type]
    return ExactSpan(spec, Span(1, 2), _tensor(case, "rope.table", torch.int16), (block,), None, None)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case", golden("block"), ids=lambda case: case["family"])
def test_every_kernel_computes_the_block_and_its_cache(kernel: str, case: Case) -> None:
    """A prompt in one chunk, then token after token; hidden states, keys, values and exponents."""
    try:
        arithmetic = KERNELS[kernel](_span(case))
    except KernelRefused as error:
        pytest.skip(str(error))
    cache, rows = arithmetic.make_cache(len(case["rope.table"])), _tensor(case, "r", torch.int32)
    ends = list(accumulate(case["chunks"]))
    for start, end in zip([0, *ends], ends, strict=False):
        found = arithmetic.block(0, rows[start:end], [Part(cache, 0, end - start, start)])
        assert found.tolist() == case["result"][start:end]
    kept = (cache.keys, cache.key_exponents, cache.values, cache.value_exponents)
    assert [each[0, 0, : len(rows)].tolist() for each in kept] == [case[name] for name in ("kh", "ke", "vh", "ve")]


@pytest.mark.parametrize("case", golden("block"), ids=lambda case: case["family"])
def test_the_block_is_its_operations_one_after_the_other(case: Case) -> None:
    """Put together from the plain formulas, nothing of the reference in it."""
    block = WitnessBlock(case, score_constant(case["d"]))
    assert [block.step(row) for row in case["r"]] == case["result"]
    assert [key.h for key in block.keys] == case["kh"]
    assert [value.exponent for value in block.values] == case["ve"]


def test_a_file_that_is_missing_old_or_nobodys_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with a line that names it; writing again puts all but the stranger right."""
    monkeypatch.setattr(make_exact_vectors, "FOLDER", tmp_path)
    makers = {name: make_exact_vectors.MAKERS[name] for name in ("add", "exp2")}
    monkeypatch.setattr(make_exact_vectors, "MAKERS", makers)
    (tmp_path / "add.json").write_text("[]")
    (tmp_path / "other.json").write_text("[]")
    monkeypatch.setattr(sys, "argv", ["make_exact_vectors.py", "--check"])
    assert make_exact_vectors.main() == 1
    told = capsys.readouterr().err
    assert told.splitlines() == [
        "add.json is not what the reference computes",
        "exp2.json is missing",
        "other.json has no maker",
    ]
    (tmp_path / "other.json").unlink()
    monkeypatch.setattr(sys, "argv", ["make_exact_vectors.py"])
    assert make_exact_vectors.main() == 0
    assert (
        make_exact_vectors.differences(
            {name: make_exact_vectors.render(make()) for name, make in makers.items()}, tmp_path
        )
        == []
    )


def test_numbers_that_a_double_does_not_hold_are_strings() -> None:
    """2^53 itself is the last one written as a number, on either side of zero."""
    text = make_exact_vectors.render([{"a": [2**53, 2**53 + 1, -(2**53), -(2**53) - 1]}])
    assert text == '[\n{"a": [9007199254740992, "9007199254740993", -9007199254740992, "-9007199254740993"]}\n]\n'
