"""Can this be checked? Canonical records, digests and (later) audits. Pure: no sockets, no keys, no chain."""
