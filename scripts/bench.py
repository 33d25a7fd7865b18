"""One entry for all benchmarks: `python scripts/bench.py NAME --json`. The last line on standard output is one JSON object."""

import argparse
import json
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

BENCHMARKS = {
    "concurrency": "benchmarks.concurrency",
    "exact-equal": "benchmarks.exact_equal",
    "exact-quality": "benchmarks.exact_quality",
    "exact-speed": "benchmarks.exact_speed",
    "failover": "benchmarks.failover",
    "first-light": "benchmarks.first_light",
    "gas": "benchmarks.gas",
    "load": "benchmarks.load",
    "overhead": "benchmarks.overhead",
    "placement": "benchmarks.placement",
}
LIBRARIES = ("torch", "transformers", "aiohttp", "web3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    chosen, rest = parser.parse_known_args()
    benchmark = import_module(BENCHMARKS[chosen.name])
    say = (lambda text: None) if chosen.json else (lambda text: print(text, file=sys.stderr))
    result = benchmark.run(rest, say)
    result["versions"] = {name: version(name) for name in LIBRARIES}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
