"""`python -m node`: the same as `tally`, for processes that this one starts."""

from node.cli import main

main()
