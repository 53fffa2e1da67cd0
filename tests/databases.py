"""Other databases in the place of the configured one, for tests in this process."""

from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connection, connections

#: Before any test changed it: Django keeps what is used now in the same place.
_SHIPPED: Final[dict[str, Any]] = dict(settings.DATABASES["default"])


def sqlite(path: Path) -> dict[str, Any]:
    """As shipped, in this file."""
    return {**_SHIPPED, "NAME": path}


def use(config: dict[str, Any]) -> dict[str, Any]:
    """For this thread from now on, and for threads to come. Returns what was used before."""
    before: dict[str, Any] = connections.settings["default"]
    connection.close()
    del connections["default"]
    connections.settings["default"] = connections.configure_settings({"default": config})["default"]
    return before
