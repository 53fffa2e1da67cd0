"""Refused authentications, gathered into streaks: one audit row each, whatever an attacker does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

STREAK_SECONDS: Final = 60.0
#: Streaks at a time. Beyond that all names count as one, and so do all addresses.
MAX_STREAKS: Final = 1000
OTHERS: Final = ("(others)", "(others)")


class Refusals:
    def __init__(self, record: Callable[[str, str, int], Awaitable[None]]) -> None:
        """`record(name, address, count)` is called once a streak, when it is over."""
        self._record = record
        self._counts: dict[tuple[str, str], int] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._recording: set[asyncio.Task[None]] = set()

    def note(self, name: str, address: str) -> None:
        streak = (name, address)
        if streak not in self._counts and len(self._counts) >= MAX_STREAKS:
            streak = OTHERS
        if streak not in self._counts:
            self._counts[streak] = 0
            loop = asyncio.get_running_loop()
            self._timers[streak] = loop.call_later(STREAK_SECONDS, self._end, streak)
        self._counts[streak] += 1

    async def close(self) -> None:
        """End every streak, and wait until it is recorded."""
        for streak in list(self._counts):
            self._end(streak)
        await asyncio.gather(*self._recording)

    def _end(self, streak: tuple[str, str]) -> None:
        self._timers.pop(streak).cancel()
        count = self._counts.pop(streak)
        task = asyncio.get_running_loop().create_task(self._recorded(streak, count))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def _recorded(self, streak: tuple[str, str], count: int) -> None:
        name, address = streak
        await self._record(name, address, count)
