"""Which folder a model is computed from: an exact one as it is, a float one quantised once into the user's cache.

No torch is imported before it is needed: a command that only asks what a folder holds stays quick.
"""

import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from node.errors import SettingsError
from node.settings import Profile, load_client_settings
from sharding.errors import KernelRefused, ManifestMalformed, ScaleOutOfRange, TensorMissing, UnsupportedModel
from sharding.profiles import EXACT_PROFILE, FLOAT_PROFILE
from sharding.spec import ModelSpec
from sharding.strict_json import BadJson, read_json_object

if TYPE_CHECKING:
    from sharding.engine import Engine
    from sharding.manifest import Manifest

log = logging.getLogger(__name__)

MANIFEST_FILE = "tallystick.json"  # sharding.manifest's, whose import brings torch
MAX_MANIFEST_BYTES = 16 << 20
FORM = 2
"""Of what `quantise` writes, so that what an earlier version has left in a cache is made anew."""

Progress = Callable[[int, int], None]  # weights done, weights in all


@dataclass(frozen=True, slots=True)
class StatedManifest:
    """What a folder's manifest says of itself; only loading the model checks it. root is hexadecimal."""

    profile: str
    root: str


def stated_manifest(folder: Path) -> StatedManifest | None:
    """None where the folder has no manifest. Raises: ManifestMalformed."""
    try:
        content = read_json_object(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    except FileNotFoundError:
        return None
    except BadJson as error:
        raise ManifestMalformed(f"{error}: write it with `tally manifest {folder}`", file=MANIFEST_FILE) from error
    return StatedManifest(str(content.get("profile")), str(content.get("root")))


def profile_of(folder: Path) -> str:
    """The profile that a folder is computed in; without a manifest it is a checkpoint as it came. Raises: ManifestMalformed."""
    stated = stated_manifest(folder)
    return FLOAT_PROFILE if stated is None else stated.profile


def check_profile(folder: Path, profile: Profile) -> str:
    """The folder's own profile, from which the one that is asked for can be had. Raises: SettingsError, ManifestMalformed."""
    found = profile_of(folder)
    if found not in (EXACT_PROFILE, FLOAT_PROFILE):
        raise SettingsError(
            folder, f"is of profile {found[:40]!r}, which this version does not know; upgrade tallystick"
        )
    if found == EXACT_PROFILE and profile == "float32":
        raise SettingsError(
            folder, "holds an exact model: take profile exact for it, or name the folder of the float checkpoint"
        )
    return found


def resolve_model(folder: Path, profile: Profile, progress: Progress | None = None) -> Path:
    """The folder that holds the model in the profile: itself, or for "exact" its quantised form in the cache.

    A model that has no exact form is served in float32, with a warning. Raises: SettingsError, ShardingError.
    """
    found = check_profile(folder, profile)
    if found == EXACT_PROFILE or profile == "float32":
        return folder
    ModelSpec.from_folder(folder)  # what no profile can serve is no matter of profiles
    try:
        return _quantised(folder, progress)
    except (UnsupportedModel, ScaleOutOfRange) as error:
        log.warning("%s is served in float32, it has no exact form: %s", folder, error)
        return folder
    except TensorMissing as error:
        raise SettingsError(folder, f"cannot be quantised: {error}. {_HOW_TO_SERVE_A_PART}") from error


_HOW_TO_SERVE_A_PART = (
    "Where only a span's files are, pull the exact model, or quantise where the whole model is (`tally quantize`),"
    " or use --profile float32"
)


def _quantised(folder: Path, progress: Progress | None) -> Path:
    """Its exact form in the cache, made now where it is not there. One process makes it, the others wait for it."""
    from sharding.manifest import build_manifest, read_manifest

    manifest = read_manifest(folder) if (folder / MANIFEST_FILE).exists() else build_manifest(folder, progress)
    if manifest.profile == EXACT_PROFILE:
        raise SettingsError(
            folder, f"holds an exact model without its manifest; write it with `tally manifest {folder}`"
        )
    place = load_client_settings().cache_dir / "exact"
    target = place / f"{manifest.root.hex()}-{EXACT_PROFILE}-{FORM}"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target.with_suffix(".lock")):
            if not target.exists():
                _make(folder, target, manifest, progress)
    except OSError as error:
        raise SettingsError(place, f"cannot be written ({error}); make room, or set TALLY_CACHE_DIR") from error
    return target


def _make(folder: Path, target: Path, manifest: "Manifest", progress: Progress | None) -> None:
    from sharding.exact.quantise import quantise

    log.info("quantising %s into %s, once", folder, target)
    draft = target.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed in the middle: the lock is ours
    try:
        quantise(folder, draft / "model", progress, model=manifest.model, manifest=manifest)
        (draft / "model").replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file's lock, which the system gives back however its holder ends."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process quantises this model; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def known_profiles(folder: Path) -> dict[str, str]:
    """Profile by root, of the folder's model and of all that were quantised on this machine, by their manifests' word."""
    made = (load_client_settings().cache_dir / "exact").glob(f"*-{EXACT_PROFILE}-{FORM}")
    known = {}
    for place in (folder, *made):
        with contextlib.suppress(ManifestMalformed):
            if (stated := stated_manifest(place)) is not None:
                known[stated.root] = stated.profile
    return known


def engine_loader(folder: Path) -> "Callable[..., Engine]":
    """What loads a span of the folder's model. The exact engine is had without transformers, which takes seconds to import.

    Raises: ManifestMalformed.
    """
    if profile_of(folder) == EXACT_PROFILE:
        from sharding.exact.engine import ExactEngine

        return ExactEngine.from_folder
    from sharding.float_engine import FloatEngine

    return FloatEngine.from_folder


def prepare_engine(folder: Path) -> None:
    """Import what the folder's engine needs and build its kernels: forked processes find it done. Raises: ManifestMalformed."""
    engine_loader(folder)
    if profile_of(folder) == EXACT_PROFILE:
        from sharding.exact.native_build import library_path

        with contextlib.suppress(KernelRefused):  # each engine says by itself what it uses instead
            library_path()
