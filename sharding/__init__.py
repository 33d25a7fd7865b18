"""The mathematics: spec, spans, checkpoints, numeric profiles, sampling. No sockets, keys, chain or event loop."""
