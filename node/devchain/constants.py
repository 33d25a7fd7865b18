"""What every part of the local chain agrees on; imports nothing, so that starting a chain stays cheap."""

CHAIN_ID = 31337
HOST = "127.0.0.1"
MNEMONIC = "test test test test test test test test test test test junk"
ACCOUNTS = 10
BALANCE_WEI = 10_000 * 10**18
BLOCK_GAS_LIMIT = 30_000_000
PRIORITY_FEE_WEI = 10**9
"""Suggested tip; also what anvil suggests."""
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_BATCH = 1000
MAX_QUEUED = 256
"""Transactions kept that wait for an earlier nonce of their sender."""
MAX_TIMESTAMP = 2**40 - 1
"""The contracts keep times in uint40; a later block would be refused by them anyway."""
MAX_BLOCKS_PER_MINE = 1000
