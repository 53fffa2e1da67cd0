"""A TCP proxy of the tests' own, for what happens to a network."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Between its port and another: it can stall, cut all connections, or lose what comes back."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        #: What a request must hold for its reply to be lost, and how many more are to be.
        self._lose = b""
        self._losses = 0
        self.lost = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stall(self) -> None:
        """A black hole: connections stay, and nothing goes through."""
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection there is. New ones are taken."""
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    def lose_replies(self, count: int, *, to: bytes) -> None:
        """The next `count` requests that hold `to` are carried out, and their connection is cut
        before the reply.
        """
        self._lose, self._losses = to, count

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        doomed = asyncio.Event()
        loop = asyncio.get_running_loop()
        both = [
            loop.create_task(self._requests(reader, far_writer, doomed)),
            loop.create_task(self._replies(far_reader, writer, doomed)),
        ]
        self._tasks.update(both)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            self._tasks.difference_update(both)
            self._pairs.discard(pair)
            for each in pair:
                each.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flowing.wait()
                if self._losses and self._lose in data:
                    self._losses -= 1
                    doomed.set()
                writer.write(data)
                await writer.drain()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flowing.wait()
                if doomed.is_set():
                    self.lost += 1
                    return
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxied(target_port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(target_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
