"""The rotary table: nearest integers of real numbers, checked against doubles, an independent series and transformers."""

import math
from dataclasses import replace
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest
from numpy.typing import NDArray
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from sharding.exact import rope_table as module
from sharding.exact.arithmetic import MAX_EXACT_POSITIONS
from sharding.exact.rope_table import FINE, PRECISIONS, SLACK_BITS, frequencies, nearest, pi, rope_table
from sharding.rope import Rope
from sharding.spec import ModelSpec

DEFAULT = Rope("default", 10_000.0)
LINEAR = Rope("linear", 500_000.0, (("factor", 2.5),))
LLAMA3 = Rope(
    "llama3",
    500_000.0,
    (
        ("factor", 8.0),
        ("high_freq_factor", 4.0),
        ("low_freq_factor", 1.0),
        ("original_max_position_embeddings", 8192.0),
    ),
)
EVERY = pytest.mark.parametrize("rope", [DEFAULT, LINEAR, LLAMA3], ids=lambda rope: rope.kind)


def spec(rope: Rope, positions: int, head_dim: int) -> ModelSpec:
    return ModelSpec(
        family="llama", num_blocks=1, hidden_size=head_dim, num_heads=1, num_kv_heads=1, head_dim=head_dim,
        intermediate_size=1, vocab_size=1, max_positions=positions, tied_embeddings=True, eos_token_ids=(),
        norm_epsilon=1e-5, rope=rope,
    )  # fmt: skip


def doubles(rope: Rope, head_dim: int) -> list[float]:
    """w_i by libm, as the specification words it."""
    number = dict(rope.parameters)
    result = []
    for i in range(head_dim // 2):
        w = rope.theta ** (-2 * i / head_dim)
        length = 2 * math.pi / w
        if rope.kind == "linear":
            w /= number["factor"]
        if rope.kind == "llama3":
            original, low, high = (
                number["original_max_position_embeddings"],
                number["low_freq_factor"],
                number["high_freq_factor"],
            )
            m = (original / length - low) / (high - low)
            if length > original / low:
                w /= number["factor"]
            elif length >= original / high:
                w *= (1 - m) / number["factor"] + m
        result.append(w)
    return result


def series(position: int, w: Decimal) -> tuple[Decimal, Decimal]:
    """Cosine and sine by Taylor's series at the angle itself, with no reduction: digits enough for its huge terms."""
    angle = position * w
    with localcontext(Context(prec=60 + int(angle))):
        term, n, sums = Decimal(1), 0, [Decimal(0), Decimal(0)]
        while n < angle or abs(term) > Decimal(10) ** -40:
            sums[n % 2] += term if n % 4 < 2 else -term
            n += 1
            term = term * angle / n
        return sums[0], sums[1]


@EVERY
def test_small_positions_are_those_of_doubles(rope: Rope) -> None:
    """Every entry within one, and all but a few the same."""
    table = rope_table(spec(rope, 600, 64), None)
    angles = np.outer(np.arange(600), doubles(rope, 64))
    wanted = np.rint(16384 * np.stack((np.cos(angles), np.sin(angles)), axis=-1))
    apart = np.abs(table - wanted)

    assert table.shape == (600, 32, 2)
    assert table.dtype == np.int16
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3


@EVERY
def test_entries_are_those_of_an_independent_series(rope: Rope) -> None:
    """At seeded positions of either size, the last one too, within a hair of a half."""
    positions, head_dim = 3000, 16
    table = rope_table(spec(rope, positions, head_dim))
    exact = frequencies(rope, head_dim, 80)
    rng = np.random.default_rng(4)
    places = [(int(rng.integers(positions)), int(rng.integers(1, head_dim // 2))) for _ in range(25)]
    for position, pair in [*places, (255, 1), (256, 1), (positions - 1, 0), (positions - 1, head_dim // 2 - 1)]:
        for entry, real in zip(table[position, pair], series(position, exact[pair]), strict=True):
            assert abs(int(entry) - 16384 * real) < Decimal("0.5")


def test_the_frequencies_are_theta_to_a_power() -> None:
    """w_i^(head_dim / 2) theta^i is 1 to many digits, and the first is 1."""
    theta = 10_000.3
    exact_theta, found = Decimal(theta), frequencies(Rope("default", theta), 64, 70)
    with localcontext(Context(prec=90)):
        assert found[0] == 1
        assert max(abs(w**32 * exact_theta**i - 1) for i, w in enumerate(found)) < Decimal("1e-60")


@pytest.mark.parametrize("rope", [LLAMA3, replace(LLAMA3, theta=10_000.0)], ids=["500000", "10000"])
def test_llama3_frequencies_are_those_of_transformers(rope: Rope) -> None:
    """Within float32's error, in each of the three ranges."""
    config = LlamaConfig(
        hidden_size=128,
        num_attention_heads=1,
        head_dim=128,
        max_position_embeddings=16384,
        rope_parameters=rope.as_config(),
    )
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](config, None)
    ours = np.array([float(w) for w in frequencies(rope, 128, 60)])
    plain = np.array([float(w) for w in frequencies(Rope("default", rope.theta), 128, 60)])

    assert np.abs(ours / theirs.numpy() - 1).max() < 2e-6
    assert {"same", "eighth", "between"} == {kind(ratio) for ratio in ours / plain}


def kind(ratio: float) -> str:
    return "same" if ratio == 1 else "eighth" if ratio == 0.125 else "between"


def test_linear_divides_every_frequency() -> None:
    """Each of them, exactly."""
    with localcontext(Context(prec=60)):
        pairs = zip(frequencies(LINEAR, 8, 60), frequencies(Rope("default", 500_000.0), 8, 60), strict=True)
        assert all(abs(scaled * Decimal("2.5") / plain - 1) < Decimal("1e-55") for scaled, plain in pairs)


@pytest.mark.parametrize("digits", [20, 62, 190])
def test_pi_has_the_digits_asked_for(digits: int) -> None:
    """The first fifty are known, and its own sine vanishes."""
    assert str(pi(digits)).startswith("3.14159265358979323846264338327950288419716939937510"[: min(digits, 51)])
    with localcontext(Context(prec=digits + 10)):
        assert abs(series(1, pi(digits))[1]) < Decimal(10) ** -min(digits - 2, 38)


@pytest.mark.parametrize("positions", [1, 2, FINE - 1, FINE, FINE + 1, 2 * FINE + 1])
def test_a_shorter_table_is_the_beginning_of_a_longer_one(positions: int) -> None:
    """Whatever the last group of positions holds; progress ends with all of them."""
    seen: list[tuple[int, int]] = []
    table = rope_table(spec(DEFAULT, positions, 8), lambda done, total: seen.append((done, total)))

    assert np.array_equal(table, LONG[:positions])
    assert seen == [(min(done + FINE, positions), positions) for done in range(0, positions, FINE)]


LONG = rope_table(spec(DEFAULT, 3 * FINE, 8))


def test_the_first_position_turns_nothing() -> None:
    """Cosine one, sine nought."""
    assert LONG[0].tolist() == [[16384, 0]] * 4


@pytest.mark.parametrize(
    "rope", [Rope("default", 1.0), Rope("default", 1e12), Rope("linear", 1e4, (("factor", 1e-3),))], ids=str
)
def test_the_longest_context_is_exact_too(rope: Rope) -> None:
    """2^17 positions at the ends of theta and of the factor: within one of doubles, whose angles are good to 10^-8."""
    table = rope_table(spec(rope, MAX_EXACT_POSITIONS, 2))
    angles = np.arange(MAX_EXACT_POSITIONS) * doubles(rope, 2)[0]
    wanted = 16384 * np.stack((np.cos(angles), np.sin(angles)), axis=-1)

    assert np.abs(table[:, 0] - wanted).max() < 0.501


def entries_by_themselves(description: ModelSpec) -> NDArray[np.int16]:
    """The table with every entry computed alone, by the exact path."""
    shape = (description.max_positions, description.head_dim // 2, 2)
    return np.array([module._entry(description, *place) for place in np.ndindex(shape)], np.int16).reshape(shape)


@EVERY
def test_the_quick_products_decide_as_the_exact_path_does(rope: Rope) -> None:
    """Every entry of a small table, computed either way."""
    description = spec(rope, 2 * FINE + 3, 6)

    assert np.array_equal(rope_table(description), entries_by_themselves(description))


def test_a_product_too_near_a_tie_is_settled_by_the_exact_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosine of 5416 radians, which 64-bit products alone get wrong: the slack is there for it."""
    position, description = 5416, spec(DEFAULT, 5417, 2)
    found = rope_table(description)[position, 0, 0]
    monkeypatch.setattr(module, "WIDE_SLACK", 0)
    alone = rope_table(description)[position, 0, 0]

    assert abs(int(found) - 16384 * series(position, Decimal(1))[0]) < Decimal("0.5")
    assert abs(int(alone) - int(found)) == 1


def test_doubtful_products_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is in doubt every entry is asked for by its own place, and the table is the same."""
    description = spec(DEFAULT, FINE + 5, 4)
    wanted, asked, entry = rope_table(description), set(), module._entry

    def counted(model: ModelSpec, position: int, pair: int, part: int) -> int:
        asked.add((position, pair, part))
        return entry(model, position, pair, part)

    monkeypatch.setattr(module, "WIDE_SLACK", 1 << 48)
    monkeypatch.setattr(module, "_entry", counted)

    assert np.array_equal(rope_table(description), wanted)
    assert asked == set(np.ndindex(FINE + 5, 2, 2))


@pytest.mark.parametrize(("beyond", "asked"), [(40, 1), (87, 1), (89, 2), (100, 2), (300, 3), (600, 3)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_value_near_a_tie_is_asked_for_with_more_bits(beyond: int, asked: int, sign: int) -> None:
    """7.5 and a little more or less, 2^-beyond of the real number: as many precisions as it takes, and no more."""
    used: list[int] = []

    def value(bits: int) -> int:
        used.append(bits)
        little = 1 << (bits - beyond) if bits >= beyond else 0
        return (15 << (bits - 15)) + sign * little

    found = nearest(value)

    assert used == list(PRECISIONS[:asked])
    assert found == (8 if sign > 0 or beyond == 600 else 7)


@pytest.mark.parametrize(("over", "precisions"), [(-1, 2), (0, 1)])
def test_the_slack_is_where_it_says(over: int, precisions: int) -> None:
    """2^40 units past a tie are enough, one fewer are not."""
    used: list[int] = []

    def value(bits: int) -> int:
        used.append(bits)
        return (15 << (bits - 15)) + ((1 << SLACK_BITS) + over if bits == PRECISIONS[0] else 1 << (bits - 87))

    assert (nearest(value), len(used)) == (8, precisions)
