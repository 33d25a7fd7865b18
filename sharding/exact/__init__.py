"""The exact profile: a forward pass in integers, the same bytes on every machine. SPEC.md is the law here."""
