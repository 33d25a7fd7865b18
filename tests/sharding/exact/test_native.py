"""The compiled kernels: built here or refused, proven or refused, and exact at every bound."""

import ctypes
import logging
import os
import stat
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sharding.errors import IntegerOverflow, KernelRefused, ScaleOutOfRange
from sharding.exact import kernels, native_arithmetic, native_build, native_library
from sharding.exact.arithmetic import MAX_INT32, Part
from sharding.exact.kernels import KERNELS, choose_arithmetic
from sharding.exact.native_arithmetic import NativeArithmetic, native_product, prove_native
from sharding.exact.proof import product_fault, prove_arithmetic
from sharding.exact.trial import extreme_activations, extreme_weights, trial_batches, trial_span


def forget() -> None:
    """What this process has built, loaded and proven."""
    remembered = (
        native_build.library_path,
        native_library.library,
        native_arithmetic._prove_model,
        native_arithmetic._prove_product,
    )
    for each in remembered:
        each.cache_clear()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder and a process that has built nothing yet."""
    monkeypatch.setattr(native_build.platformdirs, "user_cache_dir", lambda _name: str(tmp_path))
    forget()
    yield tmp_path
    forget()


@pytest.mark.parametrize("columns", [1, 2, 31, 32, 33, 64, 100, 768, 2048, 4097])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_product_is_exact_at_its_bounds(columns: int, threads: int) -> None:
    """One to seventeen rows of extremes against extremes, whole passes and rests, one thread and two."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert product_fault(native_product, columns) == ""
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 700])
def test_panels_of_weights_meet_without_a_seam(rows: int) -> None:
    """More weight rows than a panel has, and one less, and one more."""
    random = np.random.default_rng(rows)
    weights = random.integers(-127, 128, (rows, 40), dtype=np.int8)
    for count in (1, 4, 5, 9):
        x = random.integers(-32639, 32640, (count, 40), dtype=np.int16)
        assert np.array_equal(native_product(x, weights), x.astype(np.int64) @ weights.astype(np.int64).T)


def test_extremes_lie_at_the_bounds() -> None:
    """The trial inputs touch 32639 and the sum 2^24, or they would prove little."""
    for columns in (100, 768, 2048):
        x = np.abs(extreme_activations(columns).astype(np.int64))
        assert x.max() == 32639
        assert (1 << 24) - 2 * columns < x.sum(axis=1).max() <= (1 << 24) - columns or columns * 32639 < 1 << 24
        assert np.abs(extreme_weights(columns)).max() == 127
    assert {len(batch) for batch in trial_batches(8)} == {1, 2, 3, 4, 5, 6, 7, 17}


@pytest.mark.parametrize("head_dim", [2, 16, 48, 64, 80, 128, 130])
def test_the_trial_model_is_the_references(head_dim: int) -> None:
    """Every way through attention: sixteen dimensions at a time, sixty-four, a rest, and more than int32 sums."""
    prove_arithmetic(NativeArithmetic.unproven, head_dim)


def test_it_is_built_once_and_found_again(own_cache: Path) -> None:
    """One file, readable by its owner alone, under a name that its sources decide."""
    path = native_build.library_path()
    made = path.stat().st_mtime_ns
    native_build.library_path.cache_clear()

    assert native_build.library_path() == path
    assert path.stat().st_mtime_ns == made
    assert list((own_cache / "kernels").iterdir()) == [path]
    assert not stat.S_IMODE((own_cache / "kernels").stat().st_mode) & 0o077


def test_the_portable_build_is_exact_too(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this processor's own instructions and without threads, the other half of the sources computes."""
    monkeypatch.setattr(native_build, "VARIANTS", ((),))
    for head_dim in (10, 64, 80):
        prove_native(head_dim, [33, 768])
    assert ctypes.CDLL(str(native_build.library_path())).tally_block


def test_without_a_compiler_torch_computes_and_says_so(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine without gcc or clang loses speed, and is told."""
    monkeypatch.setattr(native_build.shutil, "which", lambda _name: None)
    with pytest.raises(KernelRefused, match="install gcc or clang"):
        NativeArithmetic(trial_span(16))
    with caplog.at_level(logging.WARNING, logger=kernels.__name__):
        assert choose_arithmetic(trial_span(16)).name.startswith("torch")
    assert "no C compiler found" in caplog.text


def test_sources_that_do_not_build_are_refused(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the compiler's own complaint, and nothing left behind."""
    broken = tmp_path / "sources"
    broken.mkdir()
    (broken / "broken.c").write_text("int tally(void) { return nonsense; }\n")
    monkeypatch.setattr(native_build, "SOURCES", broken)
    with pytest.raises(KernelRefused, match="nonsense"):
        native_build.library_path()
    assert list((own_cache / "kernels").iterdir()) == []


def test_a_folder_that_others_may_write_to_is_not_trusted(own_cache: Path) -> None:
    """Whoever can put a library there could compute for us."""
    folder = own_cache / "kernels"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(KernelRefused, match="others may write"):
        native_build.library_path()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another owner")
def test_a_folder_of_another_user_is_not_trusted(own_cache: Path) -> None:
    """Nor is one that belongs to somebody else."""
    folder = own_cache / "kernels"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(KernelRefused, match="others may write"):
        native_build.library_path()


def test_a_file_that_is_no_library_is_refused(own_cache: Path) -> None:
    """A damaged library is an error with a name, not a crash."""
    path = native_build.library_path()
    path.write_bytes(b"no library")
    with pytest.raises(KernelRefused, match="do not load"):
        native_library.library()


def test_a_wrong_product_is_never_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A saturating product, as library kernels have it, is found out at the start."""

    def saturating(x: NDArray[np.int16], weights: NDArray[np.int8]) -> NDArray[np.int64]:
        return np.clip(x.astype(np.int64) @ weights.astype(np.int64).T, -(1 << 23), 1 << 23)

    forget()
    monkeypatch.setattr(native_arithmetic, "native_product", saturating)
    with pytest.raises(KernelRefused, match="instead of"):
        NativeArithmetic(trial_span(16))
    assert choose_arithmetic(trial_span(16)).name.startswith("torch")
    assert "instead of" in caplog.text
    monkeypatch.undo()
    assert choose_arithmetic(trial_span(16)).name == "native"


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_overflows_name_step_limit_and_row(kernel: str) -> None:
    """A fault of the library is the reference's error, of the row that made it."""
    span = trial_span(16)
    arithmetic = choose_arithmetic(span, kernel)
    rows = torch.zeros(3, span.spec.hidden_size, dtype=torch.int32)
    rows[1, ::2], rows[1, 1::2] = MAX_INT32, -MAX_INT32  # whatever the block adds to it, some sign is wrong
    with pytest.raises(IntegerOverflow) as caught:
        arithmetic.block(0, rows, [Part(arithmetic.make_cache(8), 0, 3, 0)])

    assert (caught.value.where, caught.value.row, caught.value.limit) == ("a hidden state", 1, MAX_INT32)


def test_tensors_in_pieces_are_refused() -> None:
    """A kernel that walks memory takes none that is not in one piece."""
    span = trial_span(16)
    with pytest.raises(KernelRefused, match="one piece"):
        NativeArithmetic.unproven(replace(span, rope=span.rope.transpose(0, 1)))


@pytest.mark.parametrize("failing", ["mkstemp", "run"])
def test_a_build_that_the_system_stops_is_refused_and_torch_computes(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """No room for a draft, or a compiler that cannot be started: a named error, not a dead node."""

    def stopped(*_args: object, **_options: object) -> None:
        raise OSError("No space left on device")

    place = native_build.tempfile if failing == "mkstemp" else native_build.subprocess
    monkeypatch.setattr(place, failing, stopped)
    with pytest.raises(KernelRefused, match="No space left"):
        native_build.library_path()
    assert choose_arithmetic(trial_span(16)).name.startswith("torch")


def test_a_finished_pass_keeps_no_cache_alive() -> None:
    """What a closed session held is free at once."""
    arithmetic = NativeArithmetic(trial_span(16))
    held = arithmetic.make_cache(8)
    gone = weakref.ref(held.keys)
    rows = arithmetic.embed(torch.tensor([1, 2]))
    parts = [Part(held, 0, 2, 0)]
    arithmetic.final_block(1, arithmetic.block(0, rows, parts), parts)
    del held, parts

    assert gone() is None


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_a_scale_out_of_range_names_its_row(kernel: str) -> None:
    """A loud row beside quiet ones takes a product's shift below zero: its own error, not the batch's."""
    span = trial_span(16)
    assert span.head is not None
    norm = replace(span.head.norm, gain=torch.full_like(span.head.norm.gain, 1), shift=0)
    matrix = replace(span.head.matrix, shift=2)
    arithmetic = choose_arithmetic(replace(span, head=replace(span.head, norm=norm, matrix=matrix)), kernel)
    rows = torch.zeros(3, span.spec.hidden_size, dtype=torch.int32)
    rows[1, 0] = MAX_INT32  # alone it is normalised to the square root of the row's length: more bits than the others
    with pytest.raises(ScaleOutOfRange) as caught:
        arithmetic.logits(rows)

    assert caught.value.row == 1
