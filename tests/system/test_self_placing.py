"""Nodes that find their own blocks: real processes, each with too little memory for the whole of the committed model."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from incentives.signing import LocalSigner
from node.demo import CLIENT_ACCOUNT, deploy_demo, stake_all
from node.demo_nodes import DemoNode, DemoNodes, DemoPlan, node_processes
from node.devchain.local import LocalChain
from node.draining import ask_to_drain, await_drained
from node.errors import NodeError
from node.generation import ClientModel, running_client
from node.gossip_view import view_network
from node.network import Network
from sharding.sampling import SamplingParams
from sharding.span import covers
from tests.system.test_demo import MODEL, PROMPT, whole_model_tokens

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SETTINGS = {"blocks": "auto", "memory_megabytes": 3, "cache_megabytes": 1, "gossip_seconds": 0.5}
"""Two megabytes for weights: four of the model's eight blocks."""
PATIENCE = 60.0
"""Seconds, where some ten are enough on a machine that does nothing else."""
PLAN = DemoPlan(PROMPT, 10, 3, "embedded", MODEL, settings=cast(Mapping[str, int], SETTINGS))


@contextmanager
def three_nodes(folder: Path) -> Iterator[tuple[Network, DemoNodes]]:
    """All start at the same moment on an empty network, and serve."""
    with LocalChain("embedded") as chain, node_processes(PLAN, folder, chain.url) as nodes:
        network = deploy_demo(chain.url, folder)
        stake_all(network, nodes.nodes)
        deadline = time.monotonic() + 60
        while not all(each.pid for each in nodes.nodes) and time.monotonic() < deadline:
            nodes.check_alive()
            time.sleep(0.1)
        yield network, nodes


async def answer(network: Network, data_dir: Path, seconds: float) -> list[int]:
    """The tokens of a request; one that finds no route is made again for so long."""
    model, signer = ClientModel.from_folder(MODEL), LocalSigner.dev_account(CLIENT_ACCOUNT, network.chain.chain_id)
    request = model.request(PROMPT, SamplingParams(0.0, 0, 1.0, 0), PLAN.max_tokens, 10**14)
    deadline = time.monotonic() + seconds
    async with running_client(network, model.terms, signer, data_dir) as client:
        while True:
            try:
                session = await client.open(request)
                return [token async for token in session.tokens()]
            except NodeError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.3)


def await_true_announcement(network: Network, node: DemoNode, seconds: float) -> None:
    """Wait until the chain's word on a node is borne out by its record."""
    deadline = time.monotonic() + seconds
    while True:
        [seen] = [each for each in asyncio.run(view_network(network)) if each.chain.node == node.owner.address]
        spans = [each.span for each in seen.record.spans] if seen.record is not None else []
        if covers(spans, seen.chain.span):
            return
        assert time.monotonic() < deadline, seen
        time.sleep(0.3)


def test_nodes_cover_the_model_and_cover_it_again_when_one_dies(tmp_path: Path) -> None:
    """Three with half of the model each; the two that are left find out, and one of them moves if it has to."""
    right = whole_model_tokens(PROMPT, PLAN.max_tokens)
    with three_nodes(tmp_path) as (network, nodes):
        assert asyncio.run(answer(network, tmp_path / "client", PATIENCE)) == right
        victim, *others = _alone_first(network, nodes)
        os.kill(victim.pid or 0, signal.SIGKILL)
        assert asyncio.run(answer(network, tmp_path / "client", PATIENCE)) == right
        for each in others:
            await_true_announcement(network, each, 10)

        leaving = others[0]
        pid = leaving.pid or 0
        ask_to_drain(leaving.settings.data_dir, pid, 1.0)
        await_drained(leaving.settings.data_dir, pid, 20.0, lambda left: None)


def _alone_first(network: Network, nodes: DemoNodes) -> list[DemoNode]:
    """The nodes, first one whose blocks nobody else has."""
    seen = {each.chain.node: each for each in asyncio.run(view_network(network))}

    def twins(node: DemoNode) -> int:
        return sum(each.blocks == seen[node.owner.address].blocks for each in seen.values())

    return sorted(nodes.nodes, key=twins)
