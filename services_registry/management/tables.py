"""What a command shows: tables at a terminal, tab-separated lines to whatever else reads it."""

from collections.abc import Iterable, Sequence
from typing import TextIO, cast

from django.core.management.base import OutputWrapper
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(out: OutputWrapper, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Without `columns` the rows are pairs: what, and its value."""
    shown = [[visible(cell) or "-" for cell in row] for row in rows]
    if not out.isatty():
        for row in (columns, *shown) if columns else shown:
            out.write("\t".join(row))
        return
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, show_header=bool(columns))
    for row in shown:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console(file=cast("TextIO", out)).print(table)


def visible(text: str) -> str:
    """A service describes itself, and may hold what a terminal obeys: nothing of that is shown."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
