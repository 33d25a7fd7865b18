"""Building the compiled kernels: from native/*.c by the system's C compiler, once per machine, into the user's cache.

Nothing is downloaded and nothing built elsewhere is ever loaded: the name of the library is a hash of its sources, of
the compiler and of this processor, and a folder that others may write to is refused.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import platformdirs

from sharding.errors import KernelRefused

SOURCES = Path(__file__).parent / "native"
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden")
VARIANTS = (("-march=native", "-fopenmp"), ("-march=native",), ("-mcpu=native",), ())
"""Tried in this order: the processor's own instructions and several threads where the compiler can have them."""
BUILD_SECONDS = 120.0


@cache
def library_path() -> Path:
    """The built library, building it where this machine has none yet. Raises KernelRefused."""
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise KernelRefused(f"no C compiler found ({', '.join(COMPILERS)}): install gcc or clang for the fast kernels")
    try:
        folder = _folder()
        path = folder / f"exact-{_fingerprint(compiler)}.so"
        if not path.exists():
            _build(compiler, folder, path)
    except (OSError, subprocess.SubprocessError) as error:  # a full disk, a compiler that cannot be run or hangs
        raise KernelRefused(f"the kernels cannot be built: {error}") from error
    return path


def _folder() -> Path:
    folder = Path(platformdirs.user_cache_dir("tallystick")) / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        folder = Path(tempfile.mkdtemp(prefix="tallystick-kernels-"))
    status = folder.stat()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise KernelRefused(f"others may write to {folder}: kernels are not kept there; chmod it to 700")
    return folder


def _fingerprint(compiler: str) -> str:
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False, timeout=BUILD_SECONDS).stdout  # noqa: S603
    for part in (version, _processor(), repr((FLAGS, VARIANTS)).encode()):
        digest.update(part + b"\0")
    return digest.hexdigest()[:32]


def _processor() -> bytes:
    """What decides which instructions there are; a home folder may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".encode()
    telling = (b"model name", b"flags", b"Features", b"CPU part")
    return b"\n".join(sorted({line for line in lines if line.startswith(telling)}))


def _build(compiler: str, folder: Path, path: Path) -> None:
    sources = [str(source) for source in sorted(SOURCES.glob("*.c"))]
    handle, draft = tempfile.mkstemp(suffix=".so", dir=folder)
    os.close(handle)
    complaint = ""
    try:
        for variant in VARIANTS:
            command = [compiler, *FLAGS, *variant, *sources, "-o", draft, "-lm"]
            made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)  # noqa: S603
            if made.returncode == 0:
                os.replace(draft, path)  # whole or not at all, whoever else builds at the same time
                return
            complaint = made.stderr
    finally:
        Path(draft).unlink(missing_ok=True)
    raise KernelRefused(f"{compiler} does not build the kernels: {complaint.strip()[:500]}")
