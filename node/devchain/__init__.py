"""The local chain: Ethereum's JSON-RPC on 127.0.0.1, by an EVM in Python or by anvil where it is installed."""

import sys

RECURSION_LIMIT = sys.getrecursionlimit()
"""Python's limit before py-evm raises it to 100,000, where a body of nested brackets makes a JSON decoder overrun the
C stack and ends the process. `backend` puts it back and lifts it only while the EVM runs."""
