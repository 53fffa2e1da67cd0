"""What a connection holds for its app."""

import asyncio
from collections import deque

from uvicorn._types import ASGIReceiveEvent


class Events:
    """asyncio.Queue, for one reader, at a third of its cost."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: deque[ASGIReceiveEvent] = deque()
        self._reader: asyncio.Future[None] | None = None

    def qsize(self) -> int:
        return len(self._events)

    def put_nowait(self, event: ASGIReceiveEvent) -> None:
        self._events.append(event)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> ASGIReceiveEvent:
        while not self._events:
            self._reader = self._loop.create_future()
            await self._reader
        return self._events.popleft()
