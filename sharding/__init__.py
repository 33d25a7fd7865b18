"""The mathematics: model spec, spans, checkpoints, numeric profiles, sampling. Pure: no sockets, keys, chain or event loop."""
