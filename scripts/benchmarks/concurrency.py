"""`concurrency`: what many sessions at once get out of two stages, in both profiles.

A random Llama of 12 x 768 (97 million parameters) over two node processes with one thread each; one client process opens all
sessions. The network is stage_network's: the demo's nodes look at every channel four times a second, which is no part of this.
For each profile and number of sessions, every session generates the same number of tokens; tokens per second are all sessions'
tokens from the first one that anybody got to the last, so that opening channels does not count; time to the first token is a
session's own, from the moment its route is open. Rounds go through all numbers in turn; figures are medians over the rounds
(percentiles over all sessions of all rounds).
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stage_network import StagePlan, Value, running_stages
from node.client import Client
from node.generation import model_terms, running_client
from node.lifetime import run_loop
from node.model_folder import resolve_model
from node.reports import Request
from node.settings import Profile
from sharding.random_model import write_random_model
from sharding.sampling import SamplingParams

GREEDY = SamplingParams(0.0, 0, 1.0, 0)
SESSIONS = (1, 2, 4, 8, 16, 32)
PROMPT_TOKENS = 32
PROFILES: tuple[Profile, ...] = ("exact", "float32")


@dataclass(frozen=True)
class Timeline:
    """One session: when its route was open, and when each token came. Seconds."""

    opened: float
    tokens: tuple[float, ...]

    @property
    def first(self) -> float:
        return self.tokens[0] - self.opened

    @property
    def between(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.tokens, self.tokens[1:], strict=False)]


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Measure and return the figures."""
    parser = argparse.ArgumentParser(prog="concurrency")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--profiles", nargs="+", default=list(PROFILES), choices=PROFILES)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        say("writing the model")
        model = write_random_model(Path(name) / "model")
        made = {profile: _profile(Path(name) / profile, model, profile, options, say) for profile in options.profiles}
    return _figures(made, options)


def _profile(
    folder: Path, model: Path, profile: Profile, options: argparse.Namespace, say: Callable[[str], None]
) -> dict[int, list[list[Timeline]]]:
    model = resolve_model(model, profile)
    limits: dict[str, Value] = {"max_sessions": 64, "max_sessions_per_client": 64, "cache_megabytes": 1024}
    plan = StagePlan(model, options.stages, profile, limits)
    with running_stages(plan, folder) as up:

        async def measure() -> dict[int, list[list[Timeline]]]:
            made: dict[int, list[list[Timeline]]] = {count: [] for count in SESSIONS}
            async with running_client(up.network, model_terms(model), up.clients[0], folder / "client") as client:
                await _together(client, SESSIONS[-1], 2)  # opens the channels
                for number in range(options.rounds):
                    for count in SESSIONS:
                        made[count].append(await _together(client, count, options.tokens))
                        say(f"{profile}, round {number + 1}, {count} sessions: {_speed(made[count][-1]):.1f} tokens/s")
            return made

        return run_loop(measure())


async def _together(client: Client, count: int, tokens: int) -> list[Timeline]:
    """So many sessions, opened first, then begun at once."""
    prompts = [tuple((7 * number + 13 * place) % 1000 + 1 for place in range(PROMPT_TOKENS)) for number in range(count)]
    sessions = [await client.open(Request(prompt, GREEDY, tokens, 10**18)) for prompt in prompts]

    async def one(number: int) -> Timeline:
        began, times = time.perf_counter(), []
        async for _ in sessions[number].tokens():
            times.append(time.perf_counter())
        await sessions[number].finish()
        return Timeline(began, tuple(times))

    return list(await asyncio.gather(*(one(number) for number in range(count))))


def _speed(timelines: Sequence[Timeline]) -> float:
    """Tokens per second of all sessions after the first token of any."""
    first = min(each.tokens[0] for each in timelines)
    last = max(each.tokens[-1] for each in timelines)
    return (sum(len(each.tokens) for each in timelines) - 1) / (last - first)


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {"p50": round(1000 * cuts[49], 1), "p99": round(1000 * cuts[98], 1)}


def _figures(made: dict[Profile, dict[int, list[list[Timeline]]]], options: argparse.Namespace) -> dict[str, object]:
    speeds = {
        profile: {count: statistics.median(_speed(each) for each in rounds) for count, rounds in counts.items()}
        for profile, counts in made.items()
    }
    flat = {
        profile: {count: [line for each in rounds for line in each] for count, rounds in counts.items()}
        for profile, counts in made.items()
    }
    between = {
        profile: {
            count: _percentiles([gap for line in lines for gap in line.between]) for count, lines in counts.items()
        }
        for profile, counts in flat.items()
    }
    return {
        "tokens_per_s": {p: {c: round(v, 1) for c, v in counts.items()} for p, counts in speeds.items()},
        "ratio_8_to_1": {
            profile: round(
                statistics.median(
                    _speed(eight) / _speed(one) for one, eight in zip(made[profile][1], made[profile][8], strict=True)
                ),
                2,
            )
            for profile in made
        },
        "p99_between_tokens_ms": {p: {c: v["p99"] for c, v in counts.items()} for p, counts in between.items()},
        "p50_between_tokens_ms": {p: {c: v["p50"] for c, v in counts.items()} for p, counts in between.items()},
        "first_token_ms": {
            profile: {count: _percentiles([line.first for line in lines]) for count, lines in counts.items()}
            for profile, counts in flat.items()
        },
        "stages": options.stages,
        "tokens": options.tokens,
        "prompt_tokens": PROMPT_TOKENS,
        "rounds": options.rounds,
    }
