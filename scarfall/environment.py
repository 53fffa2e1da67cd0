"""Typed reading of the environment: variables.py says which there are, this module reads them.

A value that does not parse raises `BadVariable`, which manage.py prints as the one line it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from scarfall import values
from scarfall.values import Parser

BASE_DIR = Path(__file__).resolve().parent.parent


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


def load() -> dict[str, str]:
    """The process's environment over what the .env file says. ENV_FILE names another file."""
    named = os.environ.get("ENV_FILE", "")
    env_file = Path(named).expanduser() if named else BASE_DIR / ".env"
    try:
        from_file = dotenv_values(env_file) if named or env_file.exists() else {}
        if named:
            env_file.stat()
    except (OSError, UnicodeDecodeError):
        raise BadVariable("ENV_FILE", f"cannot read {env_file}", "a readable file") from None
    return {**{name: value or "" for name, value in from_file.items()}, **os.environ}


def read(environ: Mapping[str, str]) -> dict[str, Any]:
    """Every variable of the table, by name, each cast once."""
    from scarfall.variables import SECTIONS  # noqa: PLC0415 - made of this module's Variable

    return {
        variable.name: variable.read(environ)
        for variables in SECTIONS.values()
        for variable in variables
    }
