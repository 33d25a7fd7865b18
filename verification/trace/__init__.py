"""The trace of one position through one span of an exact model: what a dispute is about. docs/TRACE.md is its law."""
