"""What an environment variable is: its name, how it is read, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scarfall import values
from scarfall.values import Parser


class BadVariable(Exception):
    """A variable whose value cannot be used. Its message is one line, fit for a terminal."""

    def __init__(self, name: str, given: str, expected: str) -> None:
        super().__init__(f"{name}: {given}; expected {expected}")


@dataclass(frozen=True)
class Variable:
    name: str
    parser: Parser[Any]
    default: str | None
    description: str
    absent: str = ""
    """What stands in for the default in the documentation where there is no fixed one."""
    secret: bool = False

    def read(self, environ: Mapping[str, str]) -> Any:
        """The typed value. A variable that is set but empty counts as not set, as `${NAME:-}` in
        a compose file leaves it.
        """
        given = environ.get(self.name, "").strip() or self.default
        if given is None:
            return None
        try:
            return self.parser.convert(given)
        except (ValueError, KeyError) as error:
            raise BadVariable(self.name, self._shown(given, error), self.parser.expected) from None

    def _shown(self, given: str, error: Exception) -> str:
        if self.parser is values.custom_services:
            return str(error)
        if self.secret:
            return f"got {len(given)} characters, not shown"
        return f"got {given!r}" if len(given) <= 100 else f"got {given[:100]!r} and more"
