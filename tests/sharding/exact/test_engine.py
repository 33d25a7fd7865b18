"""The exact engine: the engines' contract with nothing to spare, for every kernel, over quantised checkpoints."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sharding.engine import Chunk
from sharding.errors import IntegerOverflow, KernelRefused, ManifestMismatch, ShapeMismatch, UnsupportedModel
from sharding.exact.arithmetic import Part
from sharding.exact.engine import ExactEngine
from sharding.exact.kernels import KERNELS
from sharding.exact.layout import EXACT_PROFILE
from sharding.exact.load import load_exact_span
from sharding.exact.quantise import quantise
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.float_engine import FloatEngine
from sharding.manifest import read_manifest
from sharding.span import Span
from tests.sharding.chains import feed, greedy, open_all
from tests.sharding.conftest import Models
from tests.sharding.engine_contract import ExactContract, Load
from tests.sharding.paging_contract import PagingContract
from tests.sharding.shared_pages_contract import LoadPaged
from tests.sharding.tiny import BLOCKS

Exact = Callable[..., Path]


@pytest.fixture(scope="session")
def exact(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Exact:
    """The exact model of a tiny one, made once for each set of options."""
    made: dict[str, Path] = {}

    def folder(**options: object) -> Path:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("exact") / "model"
            quantise(models(**options), made[key])
        return made[key]

    return folder


class TestNative(ExactContract):
    """Compiled kernels."""

    @pytest.fixture
    def load(self, exact: Exact) -> Load:
        return lambda span: ExactEngine.from_folder(exact(), span, kernel="native")


class TestTorch(ExactContract):
    """Torch alone, with the head norms of Qwen3."""

    @pytest.fixture
    def load(self, exact: Exact) -> Load:
        return lambda span: ExactEngine.from_folder(exact(family="qwen3"), span, kernel="torch")


class TestReference(ExactContract):
    """The specification itself."""

    @pytest.fixture
    def load(self, exact: Exact) -> Load:
        return lambda span: ExactEngine.from_folder(exact(family="qwen2"), span, kernel="reference")


class TestNativePages(PagingContract):
    """Compiled kernels over pages."""

    @pytest.fixture
    def load(self, exact: Exact) -> LoadPaged:
        folder = exact(max_position_embeddings=256)
        return lambda span, cache: ExactEngine.from_folder(folder, span, kernel="native", cache_bytes=cache)


class TestTorchPages(PagingContract):
    """Torch over pages, with Mistral's window."""

    @pytest.fixture
    def load(self, exact: Exact) -> LoadPaged:
        folder = exact(family="mistral", sliding_window=70, max_position_embeddings=256)
        return lambda span, cache: ExactEngine.from_folder(folder, span, kernel="torch", cache_bytes=cache)


@pytest.mark.parametrize(
    "options", [{"family": "llama"}, {"family": "mistral", "sliding_window": 70}], ids=["llama", "window"]
)
def test_kernels_over_pages_give_the_references_bytes(exact: Exact, options: dict[str, object]) -> None:
    """Three sessions that take pages by turns, against the specification with a cache in one piece."""
    folder = exact(max_position_embeddings=256, **options)
    native, torches = (ExactEngine.from_folder(folder, Span(1, 3), kernel=name) for name in ("native", "torch"))
    plain = ReferenceArithmetic(load_exact_span(folder, native.spec, Span(1, 3), native.manifest))
    rows = torch.randint(-(1 << 17), 1 << 17, (3, 140, native.spec.hidden_size)).int()
    cut = [(60, 3, 1), (1, 70, 5), (70, 1, 1), (9, 66, 130), (0, 0, 3)]
    found: list[list[list[torch.Tensor]]] = [[[], [], []], [[], [], []]]
    for engine, outputs in zip((native, torches), found, strict=True):
        for name in range(3):
            engine.open(bytes([name]), 140)
        for counts in cut:
            batch = []
            for name, count in enumerate(counts):
                at = engine.length(bytes([name]))
                batch += [Chunk(bytes([name]), at, rows[name, at : at + count])] if count else []
            for chunk, output in zip(batch, engine.forward(batch), strict=True):
                outputs[chunk.session[0]].append(output)
    for name in range(3):
        out, cache = rows[name], plain.make_cache(140)
        for place in range(2):
            out = plain.block(place, out, [Part(cache, 0, 140, 0)])
        assert torch.equal(torch.cat(found[0][name]), out)
        assert torch.equal(torch.cat(found[1][name]), out)


def test_what_it_computes_is_stated(exact: Exact) -> None:
    """Profile and manifest agree, hidden states are whole numbers, and the kernel has a name."""
    engine = ExactEngine.from_folder(exact(), Span(0, 1))

    assert engine.profile == engine.manifest.profile == EXACT_PROFILE
    assert engine.hidden_dtype == torch.int32
    assert engine.kernel == "native"


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_it_says_nearly_what_the_float_engine_says(models: Models, exact: Exact, family: str) -> None:
    """Logits of both profiles differ by some hundredths of their spread: eight bits of weights, in a model of no sense."""
    prompt = torch.arange(20) * 11 % 256
    engines = [FloatEngine.from_folder(models(family=family), Span(0, BLOCKS))]
    engines += [ExactEngine.from_folder(exact(family=family), Span(0, BLOCKS))]
    outputs = []
    for engine in engines:
        open_all([engine], b"one", 32)
        outputs.append(feed([engine], b"one", prompt).double())
    real, whole = outputs[0], outputs[1] / 65536

    assert (real - whole).square().mean().sqrt() < 0.1 * real.std()


def test_all_kernels_generate_the_same_tokens(exact: Exact) -> None:
    """Cut anywhere, mixed in one pipeline, and whole."""
    folder, prompt = exact(), [3, 250, 17, 99]
    whole = [ExactEngine.from_folder(folder, Span(0, BLOCKS), kernel=name) for name in KERNELS]
    mixed = [
        ExactEngine.from_folder(folder, Span(index, index + 1), kernel=name)
        for index, name in zip(range(BLOCKS), ("torch", "native", "reference", "torch"), strict=False)
    ]

    expected = greedy([whole[0]], prompt, 12)
    assert [greedy([engine], prompt, 12) for engine in whole] == [expected] * len(KERNELS)
    assert greedy(mixed, prompt, 12) == expected


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_an_overflow_names_its_session_and_leaves_the_others(exact: Exact, kernel: str) -> None:
    """A row at the edge of int32 grows past it: that session's error, nobody's length changes, the others go on."""
    engine = ExactEngine.from_folder(exact(), Span(1, 2), kernel=kernel)
    good = torch.arange(engine.spec.hidden_size, dtype=torch.int32)[None] * 100
    bad = torch.where(torch.arange(engine.spec.hidden_size) % 2 == 0, (1 << 31) - 1, -(1 << 31) + 1).int()[None]
    for name in (b"good", b"bad"):
        engine.open(name, 8)
    with pytest.raises(IntegerOverflow) as caught:
        for _ in range(8):  # some row of some sign does it
            engine.forward([Chunk(b"good", engine.length(b"good"), good), Chunk(b"bad", engine.length(b"bad"), bad)])

    assert caught.value.session == b"bad"
    assert engine.length(b"good") == engine.length(b"bad")
    engine.forward([Chunk(b"good", engine.length(b"good"), good)])


def test_hidden_states_are_int32_only(exact: Exact) -> None:
    """The float profile's hidden states are another profile's."""
    engine = ExactEngine.from_folder(exact(), Span(1, 2))
    engine.open(b"one", 4)
    with pytest.raises(ShapeMismatch):
        engine.forward([Chunk(b"one", 0, torch.zeros(1, engine.spec.hidden_size))])


def test_the_lowest_int32_is_no_hidden_state(exact: Exact) -> None:
    """-(2^31 - 1) is the last; its neighbour below is refused before anything is computed."""
    engine = ExactEngine.from_folder(exact(), Span(1, 2))
    engine.open(b"one", 4)
    rows = torch.zeros(1, engine.spec.hidden_size, dtype=torch.int32)
    rows[0, 3] = -(1 << 31)
    with pytest.raises(IntegerOverflow) as caught:
        engine.forward([Chunk(b"one", 0, rows)])
    assert caught.value.session == b"one"
    engine.forward([Chunk(b"one", 0, rows * 0)])


def test_no_other_kernel_is_known(exact: Exact) -> None:
    """A name that is not in the table is refused, not guessed."""
    with pytest.raises(KernelRefused, match="no kernel 'fast'"):
        ExactEngine.from_folder(exact(), Span(0, 1), kernel="fast")


def test_profiles_do_not_load_each_others_models(models: Models, exact: Exact) -> None:
    """Each engine refuses the other's folder by the manifest."""
    with pytest.raises(UnsupportedModel):
        FloatEngine.from_folder(exact(), Span(0, 1))
    with pytest.raises(ManifestMismatch, match="tally quantize"):
        ExactEngine.from_folder(models(), Span(0, 1), manifest=read_manifest(models()))
