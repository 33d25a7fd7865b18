"""The chain's word on every node, kept in a database that follows the log of Stakes block by block.

Cursor and what was derived change in one transaction, and a re-org is undone as deep as it went. So a node that starts again
reads what is new and nothing else. Whoever looks once, without a data directory of its own, takes directory.ChainView.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from incentives.chain_types import Block, Event
from incentives.client_errors import ReorgTooDeep
from incentives.follower_store import FollowerStore, Journal, StateView
from incentives.log_follower import LogFollower
from incentives.signing import DEV_CHAIN_ID
from incentives.stakes import (
    STAKE_EVENTS,
    Announcement,
    Identity,
    announcement_of,
    identity_of,
)
from node.directory import NO_CHANGE, REORG_BLOCKS, KnownStakes, NodeRecord, join_records
from node.network import Network, chain_folder
from verification.addresses import Address, address_bytes, to_address

LOCAL_DEPTH = 2
"""The local chain takes nothing back by itself, and blocks read one by one are what costs there."""
_IDENTITY, _ANNOUNCEMENT, _CHANGE = b"i", b"a", b"s"


def derive(block: Block, events: Sequence[Event], state: Journal) -> None:
    """Keep the newest word of each kind, and the block in which a stake last changed. As log_follower.Deriver."""
    for event in events:
        if event.name in ("Joined", "SignerRotated"):
            identity = identity_of(event)
            value = _written(identity.signer, identity.peer.hex())
            state.put(_IDENTITY + address_bytes(identity.node), value)
        if event.name == "Announced":
            said = announcement_of(event)
            place = (said.block, said.log_index)
            value = _written(said.manifest.hex(), said.start, said.end, said.ask, said.endpoint, *place)
            state.put(_ANNOUNCEMENT + address_bytes(said.node), value)
        if event.name in STAKE_EVENTS:
            state.put(_CHANGE + address_bytes(event.args["node"]), _written(block.number))


class FollowedView:
    """As ChainView, over a database in a node's data directory. One thread at a time; the caller closes it."""

    def __init__(self, network: Network, data_dir: Path) -> None:
        """Raises: ClientLocked, ClientStoreError, ChainError."""
        record, contract = network.deployment.stakes, network.stakes.contract
        local = network.chain.chain_id == DEV_CHAIN_ID
        path = chain_folder(network, data_dir) / "nodes.sqlite"
        purpose = f"nodes of {contract.address} on chain {network.chain.chain_id}"
        self._store = FollowerStore(path, purpose, LOCAL_DEPTH if local else REORG_BLOCKS)
        self._follower = LogFollower(network.chain.pool, self._store, [contract], record.block, derive)
        self._stakes = KnownStakes(network)

    def read(self) -> dict[Address, NodeRecord]:
        """Read up to the head, then put the directory together. Raises: ChainError."""
        self._advance()
        with self._store.reading() as view:
            head = 0 if view.cursor is None else view.cursor.number
            identities, announcements, changed = _identities(view), _announcements(view), _changes(view)
        return join_records(
            announcements, identities, lambda node: self._stakes.of(node, changed.get(node, NO_CHANGE), head)
        )

    def _advance(self) -> None:
        at_head = False
        while not at_head:
            try:
                at_head = self._follower.advance().at_head
            except ReorgTooDeep:  # everything was dropped and is read again
                self._stakes.forget()

    def close(self) -> None:
        """Release the database. Idempotent."""
        self._store.close()


def _written(*words: str | int) -> bytes:
    return json.dumps(words).encode()


@lru_cache(maxsize=16_384)
def _node(key: bytes) -> Address:
    """The checksum of an address takes longer than all the rest of an entry."""
    return to_address(key[1:])


def _identities(view: StateView) -> dict[Address, Identity]:
    found = {}
    for entry in view.scan(_IDENTITY):
        node, (signer, peer) = _node(entry.key), json.loads(entry.value)
        found[node] = Identity(node, Address(signer), bytes.fromhex(peer))
    return found


def _announcements(view: StateView) -> list[Announcement]:
    found = []
    for entry in view.scan(_ANNOUNCEMENT):
        manifest, *others = json.loads(entry.value)
        found.append(Announcement(_node(entry.key), bytes.fromhex(manifest), *others))
    return sorted(found, key=lambda said: (said.block, said.log_index))


def _changes(view: StateView) -> dict[Address, int]:
    return {_node(entry.key): json.loads(entry.value)[0] for entry in view.scan(_CHANGE)}
