"""`gas`: what each act costs, whole transactions, in steady state and for the first time, beside the best figure of a peer.

`--write` keeps the figures in contracts/gas_snapshot.json, which a test holds every later change against. Contracts that do not
exist yet have no figures.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from node.devchain.local import LocalChain

# Relative: this package is `benchmarks` to bench.py and `scripts.benchmarks` to the tests.
from .gas_acts import measure_gas

SNAPSHOT = Path(__file__).resolve().parents[2] / "contracts" / "gas_snapshot.json"


@dataclass(frozen=True, slots=True)
class Peer:
    """The best published or measured figure of another system for the same act."""

    gas: int
    what: str
    source: str


_X402 = "x402-foundation/x402, snapshots/X402BatchSettlementGasTest.json: execution only, slots warm; no 21,000, no calldata"
_PRIME = "PrimeIntellect-ai/smart-contracts, its own tests run with forge --isolate"
_DRAG = "yining610/Reliable-dRAG, feedbackAndUpdateScoreRecords, run here with the compiler's optimiser"
_CLAIM = 192_043 / 10
PEERS = {
    "join": Peer(203_000, "registerProvider, average; 570,000 until a node is live", _PRIME),
    "join_permit": Peer(257_000, "registerProviderWithPermit", _PRIME),
    "fund_open": Peer(84_770, "first deposit into a channel of one payee", _X402),
    "open": Peer(84_770, "the same: there is no balance to open another channel from", _X402),
    "settle_4": Peer(round(4 * _CLAIM), "a claim for each of 4 payees, ten claims in a batch; sweeps not counted", _X402),
    "settle_32": Peer(round(32 * _CLAIM), "a claim for each of 32 payees, ten claims in a batch; sweeps not counted", _X402),
    "collect": Peer(31_204, "a sweep of one payee; about 53,000 as a whole transaction", _X402),
    "settle_100_on_10_routes": Peer(round(400 * _CLAIM), "400 claims: 100 sessions of 4 payees", _X402),
    "reliability_100_root": Peer(2_550_089, "100 records overwritten in one call", _DRAG),
    "reliability_100_direct": Peer(2_550_089, "100 records overwritten in one call", _DRAG),
    "equivocation_slash": Peer(89_000, "slash by a privileged key, without any proof", _PRIME),
}  # fmt: skip


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Measure and return the figures."""
    parser = argparse.ArgumentParser(prog="gas")
    parser.add_argument("--chain", choices=("auto", "anvil", "embedded"), default="auto")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {SNAPSHOT.name}")
    options = parser.parse_args(arguments)
    with LocalChain(options.chain) as chain:
        say(f"measuring on the {chain.kind} chain")
        used = measure_gas(chain.url)
        kind = chain.kind
    if options.write:
        write_snapshot(used)
    return {**used, "peers": {name: asdict(peer) for name, peer in PEERS.items() if name in used}, "chain": kind}


def write_snapshot(used: Mapping[str, int]) -> None:
    """One act a line, so that a change is a line of a diff."""
    SNAPSHOT.write_text(json.dumps(dict(sorted(used.items())), indent=2) + "\n", encoding="utf-8", newline="\n")


def dearer(used: Mapping[str, int], before: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The acts in both that cost over one per cent more than before, as (before, now)."""
    both = {name: (before[name], used[name]) for name in used if name in before}
    return {name: (old, new) for name, (old, new) in both.items() if 100 * new > 101 * old}
