"""Tables for a person at a terminal; tab-separated lines for whatever else reads them."""

from collections.abc import Iterable, Sequence

from django.core.management.base import OutputWrapper
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def visible(text: str) -> str:
    """What users sent may hold escape codes, which a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_table(
    out: OutputWrapper, columns: Sequence[str], rows: Iterable[Sequence[str | None]]
) -> None:
    shown = [[visible(cell or "-") for cell in row] for row in rows]
    if not out.isatty():
        for row in (columns, *shown):
            out.write("\t".join(row))
        return
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in shown:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    # A terminal shows what goes to its own standard output in the width that it has.
    Console(file=out).print(table)
