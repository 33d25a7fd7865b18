"""Money and law from Python: signing, chain client, contracts, channels, vouchers, prices. Synchronous."""
