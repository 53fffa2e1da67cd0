"""The moments at which something happens to a socket by itself, on one timer."""

import asyncio
import time
from collections.abc import Callable


class Deadlines:
    """Named moments in monotonic seconds. Each is called once when it is due, unless it was moved
    or cleared.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def set(self, name: str, at: float, call: Callable[[], None]) -> None:
        self._due[name] = (at, call)
        if at < self._timer_at:
            self._arm(at)

    def clear(self, name: str) -> None:
        # The timer stays: waking once for nothing is cheaper than re-arming it each time.
        self._due.pop(name, None)

    def stop(self) -> None:
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._wake)

    def _wake(self) -> None:
        self._timer_at = float("inf")
        now = time.monotonic()
        for name, (at, call) in sorted(self._due.items(), key=lambda due: due[1][0]):
            if at <= now and self._due.get(name) == (at, call):
                del self._due[name]
                call()
        if self._due and self._timer_at == float("inf"):
            self._arm(min(at for at, _ in self._due.values()))
