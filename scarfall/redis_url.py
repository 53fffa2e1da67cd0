"""Where the store is: given as a URL, as a host, or not at all, which means the embedded Valkey."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote


def from_host(given: dict[str, Any]) -> str:
    password = given["REDIS_PASSWORD"]
    login = f":{quote(password, safe='')}@" if password else ""
    host = given["REDIS_HOST"]
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"  # IPv6
    return f"redis://{login}{host}:{given['REDIS_PORT']}/{given['REDIS_DB']}"


def of_socket(socket: Path, database: int) -> str:
    return f"unix://{quote(str(socket))}?db={database}"
