"""What a node keeps in its data directory beside the database: its two keys, and which process serves from it."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import psutil

from incentives.signing import LocalSigner
from node.identity import NodeIdentity
from node.settings import NodeSettings

NODE_KEY_FILE = "node-key"
STATUS_FILE = "status.json"
SAME_PROCESS_SECONDS = 1.0
"""Process ids are used again; their moments of creation are not."""


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The two keys of a node's process."""

    signer: LocalSigner
    identity: NodeIdentity


def load_keys(settings: NodeSettings) -> NodeKeys:
    """Read the node key and TLS identity of a data directory, making them on first use. Raises: KeyFileError, IdentityDamaged."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = settings.data_dir / NODE_KEY_FILE
    signer = LocalSigner.from_key_file(path) if path.exists() else LocalSigner.create_key_file(path)
    return NodeKeys(signer, NodeIdentity.load_or_create(settings.data_dir))


def running_pid(data_dir: Path) -> int | None:
    """The process that serves from a data directory, if one says so and lives."""
    return recorded_process(data_dir / STATUS_FILE)


def running_profile(data_dir: Path) -> str | None:
    """The numeric profile in which the process of running_pid computes."""
    if running_pid(data_dir) is None:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads((data_dir / STATUS_FILE).read_text())["profile"])
    return None


def recorded_process(path: Path) -> int | None:
    """The process that a file names by `pid` and moment of creation, if it lives."""
    try:
        record = json.loads(path.read_text())
        process = psutil.Process(int(record["pid"]))
        same = abs(process.create_time() - float(record["created"])) < SAME_PROCESS_SECONDS
        alive = process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process.pid if same and alive else None
