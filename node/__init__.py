"""Everything that waits: transport, stage server, client, settlement, local chain, command line."""
