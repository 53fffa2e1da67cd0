"""Where this deployment's own UNIX sockets are."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

#: A socket's path has room for 104 bytes on macOS and 108 on Linux, with the NUL at its end.
LONGEST_PATH = 103


def path(directory: Path, name: str) -> Path:
    """In `directory`; where that is too long, in one that is named by its hash."""
    if len(bytes(directory / name)) <= LONGEST_PATH:
        return directory / name
    digest = hashlib.sha256(bytes(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"scarfall-{digest}" / name
