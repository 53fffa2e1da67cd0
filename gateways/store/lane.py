"""A connection of the batcher's, and what is under way on it: nothing, or one batch."""

import asyncio
import time

from gateways import metrics
from gateways.store.calls import Pending
from gateways.store.link import Link


class Lane:
    def __init__(self, loop: asyncio.AbstractEventLoop, *, timeout_seconds: float) -> None:
        self._loop = loop
        self._timeout_seconds = timeout_seconds
        self.link: Link | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.batch: list[Pending] = []
        #: By the loop's clock: when the batch has waited long enough.
        self.deadline = 0.0
        #: After a connection that could not be had: while another serves, it is left alone so long.
        self.rests_until = 0.0
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def alive(self) -> bool:
        return self.link is not None and not self.link.closed

    @property
    def busy(self) -> bool:
        return bool(self.batch) or self.connecting is not None

    def begin(self, batch: list[Pending], deadline: float | None = None) -> None:
        """The batch is about to be sent. `deadline`: the one that it has had since it first was."""
        self.batch = batch
        self._sent_at = time.perf_counter()
        self.deadline = deadline or self._loop.time() + self._timeout_seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self.deadline, self._look_at_clock)

    def end(self, *, answered: bool) -> None:
        """The batch is over."""
        self.batch = []
        if answered:
            metrics.store_seconds.observe(time.perf_counter() - self._sent_at)
        else:
            metrics.store_failures.add()

    def close(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.link is not None:
            self.link.close(reason)

    def _look_at_clock(self) -> None:
        """One timer for all batches: it is set anew only when it goes off."""
        self._timer = None
        if not self.batch or self.link is None:
            return
        if self._loop.time() < self.deadline:
            self._timer = self._loop.call_at(self.deadline, self._look_at_clock)
        else:
            self.link.close(f"no reply within {self._timeout_seconds:g} s")
