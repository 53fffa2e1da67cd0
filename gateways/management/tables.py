"""Tables for a person at a terminal; tab-separated lines for whatever else reads them."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, TextIO, cast

from django.core.management.base import OutputWrapper
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_OBEYED: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """What users sent may hold what a terminal obeys: escape codes, other lines, overridden
    directions of writing.
    """
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)


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
    Console(file=cast("TextIO", out)).print(table)
