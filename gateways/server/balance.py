"""How many connections each of the processes has that share a port, in memory that they share.

The kernel gives a new connection to whichever process is up first, which on an idle machine is
always the same; so the one that gets it looks here, and hands it to the one that has the fewest.
Nothing locks: a count that is off by a few for a moment costs a connection or two in the wrong
place.
"""

import mmap
import os
from collections.abc import Callable
from typing import Any, Final

_COUNT_BYTES: Final = 4
#: The count of a process that is not there.
_AWAY: Final = 2**32 - 1


class Counted(set[Any]):
    """A process's connections, as uvicorn keeps them: it tells how many they are."""

    def __init__(self, count: Callable[[int], None]) -> None:
        super().__init__()
        self._count = count

    def add(self, element: Any) -> None:
        super().add(element)
        self._count(len(self))

    def discard(self, element: Any) -> None:
        super().discard(element)
        self._count(len(self))

    def remove(self, element: Any) -> None:
        super().remove(element)
        self._count(len(self))


class Balance:
    def __init__(self, descriptor: int, processes: int) -> None:
        """`descriptor`: a file that all of them map, of `size(processes)` bytes."""
        self._memory = mmap.mmap(descriptor, self.size(processes))
        self._counts = memoryview(self._memory).cast("I")

    @staticmethod
    def size(processes: int) -> int:
        return processes * _COUNT_BYTES

    @classmethod
    def make(cls, descriptor: int, processes: int) -> "Balance":
        """Where none is there yet. All have 0, though none has started: what comes to the first of
        them waits for the others, who are no slower than a moment.
        """
        os.truncate(descriptor, cls.size(processes))
        return cls(descriptor, processes)

    def count(self, process: int, connections: int) -> None:
        self._counts[process] = connections

    def leave(self, process: int) -> None:
        """It gets no more connections until it counts its own again."""
        self._counts[process] = _AWAY

    def better(self, process: int) -> int | None:
        """Which other one is to have a connection that came to this one; None where this one is as
        good as any.
        """
        counts = self._counts
        fewest = min(range(len(counts)), key=counts.__getitem__)
        if counts[process] <= counts[fewest] + 1 or counts[process] == _AWAY:
            return None
        return fewest

    def expect(self, process: int) -> None:
        """It is about to get one, and will count it itself."""
        if (count := self._counts[process]) < _AWAY - 1:
            self._counts[process] = count + 1
