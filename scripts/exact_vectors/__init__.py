"""The inputs of the golden vectors of the exact profile, and what the reference makes of them."""
