"""One gateway process: uvicorn on a socket that its parent bound."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, Protocol

import uvicorn
from django.conf import settings

from gateways.server.certificate import read_certificate
from gateways.server.handover import Handover
from gateways.server.http import HttpProtocol
from gateways.server.websocket import WebSocketProtocol

log = logging.getLogger(__name__)

# Together less than the 10 s that the parent waits before it kills.
DRAIN_SECONDS = 4.0
# By default the collector looks at the youngest objects whenever there are 700 more of them, which
# one batch of messages makes.
GC_THRESHOLDS = (10_000, 20, 50)
CLOSE_SECONDS = 4
# A sign of life comes as often, or with the next of uvicorn's ticks on a busy loop.
BEAT_SECONDS = 1.0


class Gateway(Protocol):
    async def drain(self) -> None:
        """Says goodbye to every client and hands over what it holds."""


class Application(Protocol):
    """An ASGI application, lifespan included."""

    @property
    def max_frame_bytes(self) -> int:
        """What is longer closes its socket with 1009."""

    @property
    def gateway(self) -> Gateway: ...

    async def __call__(self, scope: Any, receive: Any, send: Any, /) -> None: ...


class Server(uvicorn.Server):
    """Says on its lifeline when it is ready, and every second that it is alive; stops when that
    ends, or on SIGTERM or SIGINT.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway, lifeline: socket.socket) -> None:
        super().__init__(config)
        self.gateway = gateway
        self.lifeline = lifeline
        self.beat_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Before the application: while that waits for a store, the parent may die.
        loop = asyncio.get_running_loop()
        loop.add_reader(self.lifeline, self._stop_at_end_of_file)
        if HttpProtocol.handover is not None:
            self.server_state.connections = HttpProtocol.handover.connections
        # uvicorn would listen, too, and wait a minute for each handshake.
        await super().startup([])
        if self.started:
            for listener in sockets or ():
                self.servers.append(await self._listen(listener))
            if HttpProtocol.handover is not None:
                HttpProtocol.handover.listen(self._adopt)
        with contextlib.suppress(OSError):
            self.lifeline.send(b"+")

    async def on_tick(self, counter: int) -> bool:
        if (now := time.monotonic()) >= self.beat_at:
            self.beat_at = now + BEAT_SECONDS
            # The parent may have been told to stop, or be as slow as the machine.
            with contextlib.suppress(OSError):
                self.lifeline.send(b".")
            if HttpProtocol.handover is not None:
                HttpProtocol.handover.recount()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # First the door, then the goodbyes: whoever reconnects on hearing one must not land here.
        for server in self.servers:
            server.close()
        if HttpProtocol.handover is not None:
            HttpProtocol.handover.close()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.gateway.drain()
        except TimeoutError:
            log.error("Draining took more than %g s", DRAIN_SECONDS)  # noqa: TRY400 - no trace
        except Exception:
            log.exception("Draining failed")
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's, does not raise the signal again at the end: a stop that was asked for
        is exit code 0.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._renew_certificate)
        yield

    async def _listen(self, listener: socket.socket) -> asyncio.Server:
        secure = self.config.ssl is not None
        return await asyncio.get_running_loop().create_server(
            self._make_protocol,
            sock=listener,
            backlog=self.config.backlog,
            ssl=self.config.ssl,
            ssl_handshake_timeout=HttpProtocol.head_seconds if secure else None,
        )

    def _make_protocol(self) -> HttpProtocol:
        return HttpProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )

    def _adopt(self, data: bytes) -> HttpProtocol:
        protocol = self._make_protocol()
        protocol.inherited = data
        return protocol

    def _renew_certificate(self) -> None:
        if self.config.ssl is None:
            return
        try:
            read_certificate(self.config.ssl)
        except OSError as error:  # ssl.SSLError is one
            log.error("TLS_CERT, TLS_KEY: %s; the last one stays", error)  # noqa: TRY400 - no trace
        else:
            log.info("TLS_CERT and TLS_KEY were read anew")

    def _stop(self) -> None:
        self.should_exit = True

    def _stop_at_end_of_file(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            if self.lifeline.recv(64):
                return
        asyncio.get_running_loop().remove_reader(self.lifeline)
        self._stop()


def configuration(application: Application, *, secure: bool = False) -> uvicorn.Config:
    """`secure`: over TLS. Raises OSError, ssl.SSLError where its files are of no use."""
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=HttpProtocol,
        ws=WebSocketProtocol,
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.TRUSTED_PROXIES),
        forwarded_allow_ips=",".join(settings.TRUSTED_PROXIES),
        ws_per_message_deflate=False,
        ws_max_size=application.max_frame_bytes,
        ws_ping_interval=settings.WS_PING_INTERVAL / 1000,
        ws_ping_timeout=settings.WS_PING_TIMEOUT / 1000,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    config.load()
    if secure:
        config.ssl = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        read_certificate(config.ssl)
    return config


def run(
    application: Application,
    listening_socket: socket.socket,
    parent_pipe_fd: int,
    handover: Handover | None = None,
    *,
    secure: bool = False,
) -> None:
    """Serves until the parent says stop or is gone. Exits with code 3 where the start-up fails.

    `handover`: where other processes serve the same socket. `secure`: over TLS.
    """
    HttpProtocol.handover = handover
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with socket.socket(fileno=parent_pipe_fd) as lifeline, listening_socket:
        lifeline.setblocking(False)
        server = Server(configuration(application, secure=secure), application.gateway, lifeline)
        server.run(sockets=[listening_socket])
