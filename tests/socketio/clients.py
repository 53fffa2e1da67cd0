"""Stock Socket.IO clients from npm, in a Node process of their own."""

import asyncio
import itertools
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests import npm

DIRECTORY = Path(__file__).parent / "js"
PATIENCE_SECONDS = 30.0


def installed() -> Path:
    """The folder of the clients, with the packages of its lock. Skips where there is no npm."""
    return npm.installed(DIRECTORY)


class JsClient:
    """One client. What happened to it is kept, in order."""

    def __init__(self, node: "Node", name: str) -> None:
        self.node = node
        self.name = name
        self.happened: list[dict[str, Any]] = []
        #: What callbacks were given, by the number of each.
        self.answers: dict[int, list[Any]] = {}
        self._acks = itertools.count()

    def tell(self, what: str, **more: Any) -> None:
        self.node.tell({"do": what, "client": self.name, **more})

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [what for what in self.happened if what["kind"] == kind]

    def seen(self, event: str) -> list[list[Any]]:
        """What the handlers of an event were given, so far."""
        return [what["data"] for what in self.of_kind("event") if what["event"] == event]

    def emit(self, event: str, *data: Any) -> None:
        self.tell("emit", event=event, data=data, ack=None)

    async def ask(self, event: str, *data: Any) -> Any:
        """What its callback was given."""
        ack = self._emit_for_an_answer(event, *data)
        await self.until(lambda: ack in self.answers, f"the ack of {event}")
        (answer,) = self.answers[ack]
        return answer

    async def attempt(self, event: str, *data: Any) -> Any:
        """The same. Raises ConnectionError where the connection is lost before that."""
        lost = len(self.of_kind("disconnect"))
        ack = self._emit_for_an_answer(event, *data)
        await self.until(
            lambda: ack in self.answers or len(self.of_kind("disconnect")) > lost,
            f"the ack of {event}, or a disconnect",
        )
        if ack not in self.answers:
            raise ConnectionError(self.of_kind("disconnect")[-1]["reason"])
        (answer,) = self.answers[ack]
        return answer

    async def given(self, event: str, count: int = 1) -> list[list[Any]]:
        """What the handlers of an event were given, once that often."""
        await self.until(lambda: len(self.seen(event)) >= count, f"{count} of {event}")
        return self.seen(event)

    async def once(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The newest happening of a kind, once there are so many."""
        await self.until(lambda: len(self.of_kind(kind)) >= count, f"{count} of {kind}")
        return self.of_kind(kind)[-1]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await self.node.until(condition, lambda: f"{what} at {self.name}: {self.happened[-6:]}")

    def _emit_for_an_answer(self, event: str, *data: Any) -> int:
        ack = next(self._acks)
        self.tell("emit", event=event, data=data, ack=ack)
        return ack


class Node:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._clients: dict[str, JsClient] = {}
        self._numbers = itertools.count()
        self._happened = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._happened.set())

    def tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    def open(self, url: str, *, library: str = "socket.io-client", **options: Any) -> JsClient:
        """A client that connects, by itself and with these options."""
        client = JsClient(self, f"client {next(self._numbers)}")
        self._clients[client.name] = client
        client.tell("open", url=url, options=options, library=library)
        return client

    async def until(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    assert not self._reader.done(), f"node ended before {what()}"
                    self._happened.clear()
                    await self._happened.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what()}") from None

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            what = json.loads(line)
            client = self._clients[what["client"]]
            if what["kind"] == "ack":
                client.answers[what["ack"]] = what["answer"]
            else:
                client.happened.append({**what, "at": time.monotonic()})
            self._happened.set()


@asynccontextmanager
async def running_node() -> AsyncIterator[Node]:
    directory = await asyncio.to_thread(installed)
    process = await asyncio.create_subprocess_exec(
        "node",
        "clients.mjs",
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
        limit=1 << 24,
    )
    node = Node(process)
    try:
        yield node
    finally:
        await node.stop()
