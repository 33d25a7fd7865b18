"""`python -m node.devchain --port 8545`: the embedded chain 31337 on 127.0.0.1, in memory, until it is stopped."""

import argparse
import asyncio
import sys

from node.devchain.constants import CHAIN_ID
from node.errors import NodeError

MAX_PORT = 65535


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= MAX_PORT:
        raise ValueError(port)
    return port


def _announce(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m node.devchain", description=f"Embedded local chain {CHAIN_ID}.")
    parser.add_argument("--port", type=_port, default=8545, help="0 chooses a free one and prints it")
    parser.add_argument("--print-ready", action="store_true", help="print the URL once it answers")
    parser.add_argument("--watch-stdin", action="store_true", help="stop when standard input ends")
    args = parser.parse_args()
    quiet = args.port != 0 and not args.print_ready
    from node.devchain import server  # 1.3 s of imports: not for --help

    try:
        asyncio.run(server.run(args.port, (lambda url: None) if quiet else _announce, args.watch_stdin))
    except NodeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
