"""What other processes of this machine cost: their CPU time and memory, as Linux counts them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Reading:
    cpu_seconds: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Watched:
    """Processes that are counted together, under one name."""

    name: str
    process_ids: tuple[int, ...]

    @classmethod
    def parse(cls, typed: str) -> "Watched":
        """From NAME=PID,PID… Raises ValueError."""
        name, equals, numbers = typed.partition("=")
        if not name or not equals:
            raise ValueError(typed)
        return cls(name, tuple(int(number) for number in numbers.split(",")))

    def read(self) -> Reading:
        """Raises FileNotFoundError where one of them has ended."""
        cpu_seconds, rss_bytes = 0.0, 0
        for process_id in self.process_ids:
            folder = Path("/proc") / str(process_id)
            # proc(5): the name, in brackets, may hold anything; user and system time are the 14th
            # and 15th field.
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            cpu_seconds += (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
            rss_bytes += int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
        return Reading(cpu_seconds, rss_bytes)
