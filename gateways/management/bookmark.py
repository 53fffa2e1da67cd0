"""How far a file was read, so that an interrupted import goes on where it stopped."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec


class Position(msgspec.Struct, frozen=True):
    """What lies before it is done. `size` and `mtime_ns` tell whether it is still the same file."""

    size: int
    mtime_ns: int
    offset: int = 0
    line: int = 0
    done: int = 0
    bad: int = 0


class Bookmark:
    """One small file for each file that is imported into each store. It always holds a whole
    position.
    """

    def __init__(self, file: Path, *, store: str, directory: Path) -> None:
        status = file.stat()
        self.start = Position(status.st_size, status.st_mtime_ns)
        identity = hashlib.sha256(f"{file.resolve()}\0{store}".encode()).hexdigest()
        self._path = directory / f"import-{identity[:16]}.json"

    def read(self) -> Position:
        """The start, where there is no mark or the file has changed since."""
        try:
            mark = msgspec.json.decode(self._path.read_bytes(), type=Position)
        except (FileNotFoundError, msgspec.DecodeError):
            return self.start
        same = (mark.size, mark.mtime_ns) == (self.start.size, self.start.mtime_ns)
        return mark if same else self.start

    def write(self, position: Position) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.encode(position))
        draft.replace(self._path)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
