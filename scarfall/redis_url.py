"""Where the store is: given as a URL, as a host, or not at all, which means the embedded Valkey."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

SOCKET_NAME = "valkey.sock"
# A socket's path has room for 104 bytes on macOS and 108 on Linux, with the NUL at its end.
LONGEST_SOCKET_PATH = 103


def from_host(given: dict[str, Any]) -> str:
    password = given["REDIS_PASSWORD"]
    login = f":{quote(password, safe='')}@" if password else ""
    host = given["REDIS_HOST"]
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"  # IPv6
    return f"redis://{login}{host}:{given['REDIS_PORT']}/{given['REDIS_DB']}"


def embedded_socket(data_dir: Path) -> Path:
    """In DATA_DIR; where its path is too long for a socket, in a directory named by its hash."""
    socket = data_dir / SOCKET_NAME
    if len(bytes(socket)) <= LONGEST_SOCKET_PATH:
        return socket
    digest = hashlib.sha256(bytes(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"scarfall-{digest}" / SOCKET_NAME


def of_socket(socket: Path, database: int) -> str:
    return f"unix://{quote(str(socket))}?db={database}"
