"""A gateway process's life: ready, drained, ended; here in the tests' own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateways.server import worker
from gateways.server.http import HttpProtocol
from tests.certificate import Certificate
from tests.gateways.server.conftest import until

Drain = Callable[[], Awaitable[None]]


class Application:
    """An application with nothing but a lifespan."""

    max_frame_bytes = 3400

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.stopped = False

    @property
    def gateway(self) -> Application:
        return self

    async def drain(self) -> None:
        await self._drain()

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await self.may_start.wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.stopped = True
        await send({"type": "lifespan.shutdown.complete"})


class Broken(Application):
    """Cannot start."""

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no store today"})


class Running:
    """A server in this loop, with the parent's end of its lifeline."""

    def __init__(self, drain: Drain, *, secure: bool = False) -> None:
        self.application = Application(drain)
        self.parent, lifeline = socket.socketpair()
        self.parent.setblocking(False)
        lifeline.setblocking(False)
        self.lifeline = lifeline
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        config = worker.configuration(self.application, secure=secure)
        self.server = worker.Server(config, self.application, lifeline)
        self.task = asyncio.create_task(self.server.serve([self.listener]))

    async def ready(self) -> None:
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(self.parent, 1) == b"+"

    async def ended(self) -> None:
        async with asyncio.timeout(10):
            await self.task

    async def refuses(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionRefusedError:
            return True
        writer.close()
        return False


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(drain: Drain, *, secure: bool = False) -> Running:
        running.append(Running(drain, secure=secure))
        return running[-1]

    yield start
    for each in running:
        each.server.should_exit = True
        await each.ended()
        each.parent.close()
        each.lifeline.close()


async def test_the_parents_end_is_the_childs(start: Callable[[Drain], Running]) -> None:
    refused_while_draining = []

    async def drain() -> None:
        refused_while_draining.append(await running.refuses())

    running = start(drain)
    await running.ready()
    assert not await running.refuses()
    running.parent.close()
    await running.ended()
    assert refused_while_draining == [True]
    assert running.application.stopped


async def test_what_the_parent_says_is_not_its_end(start: Callable[[Drain], Running]) -> None:
    running = start(_nothing)
    await running.ready()
    running.parent.send(b"hello")
    assert not await running.refuses()
    assert not running.server.should_exit


async def test_the_parents_end_is_noticed_during_the_start(
    start: Callable[[Drain], Running],
) -> None:
    running = start(_nothing)
    running.application.may_start.clear()
    running.parent.close()
    await until(lambda: running.server.should_exit)
    assert not running.server.started
    running.application.may_start.set()
    await running.ended()
    assert running.application.stopped


def test_a_start_that_fails_is_exit_code_3_and_never_ready() -> None:
    parent, lifeline = socket.socketpair()
    with parent:
        listener = socket.create_server(("127.0.0.1", 0))
        with pytest.raises(SystemExit) as end:
            worker.run(Broken(_nothing), listener, lifeline.detach())
        assert end.value.code == 3
        assert parent.recv(8) == b""


async def _nothing() -> None: ...


async def _fails() -> None:
    raise RuntimeError("no goodbye today")


async def _hangs() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("drain", "said"), [(_fails, "no goodbye today"), (_hangs, "Draining took more than")]
)
async def test_a_drain_that_goes_wrong_does_not_keep_the_process(
    start: Callable[[Drain], Running],
    drain: Drain,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.05)
    running = start(drain)
    await running.ready()
    running.server.should_exit = True
    await running.ended()
    assert running.application.stopped
    assert said in caplog.text


async def test_a_handshake_that_does_not_come_is_not_waited_for(
    start: Callable[..., Running], settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.3)
    certificate = Certificate(tmp_path)
    settings.TLS_CERT, settings.TLS_KEY = certificate.cert, certificate.key
    running = start(_nothing, secure=True)
    await running.ready()
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


def test_a_message_a_little_too_large_reaches_the_consumer() -> None:
    assert worker.configuration(Application(_nothing)).ws_max_size == 3400


def test_the_largest_frame_holds_a_message_whose_every_byte_is_escaped(settings: Any) -> None:
    escaped, recipients = 2 * settings.MAX_MESSAGE_BYTES, 140 * settings.MAX_RECIPIENTS
    assert escaped + recipients == settings.MAX_FRAME_BYTES
