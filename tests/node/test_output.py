"""What peers and models say reaches a terminal as text and nothing else."""

import io

from rich.console import Console

from node.cli.output import make_table, printable


def test_control_sequences_of_peers_do_not_reach_the_terminal() -> None:
    """Clipboard writes, screen clearing and C1 controls lose their first character; text, tabs and lines stay."""
    assert printable("a\x1b]52;c;AAAA\x07b\x1b[2J\x9b1m\u202f\tc\nd") == "a]52;c;AAAAb[2J1m\u202f\tc\nd"


def test_an_announced_endpoint_is_not_markup() -> None:
    """A node that announces rich's markup is shown as it is, and crashes nobody's table."""
    console = Console(file=io.StringIO(), width=80)
    console.print(make_table("Nodes", ("endpoint",), [("[/evil]",), ("[red]x",)]))

    assert "[/evil]" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]x" in console.file.getvalue()  # type: ignore[attr-defined]
