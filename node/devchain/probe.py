"""One question to whatever listens at a URL, without proxies and without retries."""

import http.client
import json
from urllib.parse import urlsplit

MAX_ANSWER_BYTES = 4096
_QUESTION = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'


def ask_chain_id(url: str, timeout_s: float) -> int | None:
    """The chain id that answers at a plain http URL, or None where nothing or nothing sensible does."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    try:
        connection.request("POST", parts.path or "/", _QUESTION, {"Content-Type": "application/json"})
        return int(json.loads(connection.getresponse().read(MAX_ANSWER_BYTES))["result"], 16)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()
