"""How commands speak: tables for people, one JSON object for programs."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from incentives.units import format_amount

console = Console(highlight=False, emoji=False)


def print_json(value: Mapping[str, object] | Sequence[object]) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps(value) + "\n")


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose columns after the first are right-aligned."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def printable(text: str) -> str:
    """Text from a peer or a model without the control characters that steer terminals."""
    return "".join(each for each in text if each in "\n\t" or unicodedata.category(each) != "Cc")


def units(amount: int) -> str:
    """An amount in whole tokens, exact."""
    return format_amount(amount) if amount >= 0 else f"-{format_amount(-amount)}"


def short(value: str) -> str:
    """An address or hash, recognisable."""
    return f"{value[:6]}…{value[-4:]}"
