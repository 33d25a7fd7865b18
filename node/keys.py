"""What a node keeps in its data directory beside the database: its two keys, and which process serves from it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from incentives.signing import LocalSigner
from node.identity import NodeIdentity
from node.settings import NodeSettings

NODE_KEY_FILE = "node-key"
STATUS_FILE = "status.json"


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
    """The process that serves from a data directory, if one says so."""
    try:
        status = json.loads((data_dir / STATUS_FILE).read_text())
        pid = int(status["pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid
