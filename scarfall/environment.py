"""Typed reading of the environment: variables.py says which there are, this module reads them.

A value that does not parse raises `BadVariable`, which manage.py prints as the one line it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from scarfall.variable import BadVariable
from scarfall.variables import SECTIONS

BASE_DIR = Path(__file__).resolve().parent.parent


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
    return {
        variable.name: variable.read(environ)
        for variables in SECTIONS.values()
        for variable in variables
    }
