"""What a typed line means."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_AT: Final = re.compile(r"@(?P<names>[^\s,]+(?:,[^\s,]+)*)(?:\s+(?P<text>.*))?", re.DOTALL)
_COLON: Final = re.compile(r"(?P<name>[^\s,:@/]+):\s+(?P<text>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Say:
    """To nobody in particular: to the last partner. Without text: only the partner changes."""

    user_ids: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A command: `/friends bob,carol`."""

    name: str
    argument: str


def parse(line: str, *, is_name: Callable[[str], bool]) -> Say | Call | None:
    """None for a blank line. `is_name` tells `bob: hello` from `note: buy milk`."""
    line = line.strip()
    if not line:
        return None
    if line.startswith("/"):
        name, _, argument = line[1:].partition(" ")
        return Call(name, argument.strip())
    if match := _AT.fullmatch(line):
        return Say(names(match["names"]), (match["text"] or "").strip())
    if (match := _COLON.fullmatch(line)) and is_name(match["name"]):
        return Say((match["name"],), match["text"])
    return Say((), line)


def names(text: str) -> tuple[str, ...]:
    """`bob, carol`, as it is typed."""
    parts = (part.strip().removeprefix("@") for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
