"""`manage.py serve`: one parent that binds the ports, starts every process and outlives them all.

A gateway process inherits its listening socket, so a port has no gap while one is started again,
and one end of a socket pair, its lifeline: it says "ready" there, and an end of file tells it that
the parent is gone. The parent stops on SIGTERM and SIGINT and leaves no process behind; on SIGHUP
too, which a terminal sends that goes away, unless there is a certificate to be read anew.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from django.conf import settings

from gateways.server.balance import Balance
from gateways.server.certificate import read_certificate
from scarfall.embedded import CannotStart, EmbeddedValkey, locked, make_private
from scarfall.environment import BASE_DIR

log = logging.getLogger(__name__)

STOP_SECONDS = 10.0
"""For the gateways to say goodbye; what is left of the 15 s is Valkey's."""
FAST_DEATH_SECONDS = 10.0
FAST_DEATHS = 5
BACKLOG = 2048

Step = Callable[[], None]


@dataclass(frozen=True)
class Shared:
    """What one of several processes has that share a port."""

    process: int
    balance: Balance
    #: For gateway_process: its number, then descriptors, by which they hand connections to each
    #: other.
    arguments: list[int]


class GatewayProcess:
    """One gateway process, started again whenever it dies."""

    def __init__(
        self, gateway: str, name: str, listener: socket.socket, shared: Shared | None = None
    ) -> None:
        self.gateway = gateway
        self.name = name
        self.listener = listener
        self.shared = shared
        self.ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        """Until cancelled. Raises CannotStart where the process dies as soon as it is started."""
        clock = asyncio.get_running_loop().time
        fast_deaths = 0
        while True:
            begun = clock()
            code = await self._run()
            fast_deaths = fast_deaths + 1 if clock() - begun < FAST_DEATH_SECONDS else 0
            if fast_deaths == FAST_DEATHS:
                raise CannotStart(
                    f"Gateway {self.name} died {FAST_DEATHS} times in a row, the last time with"
                    f" exit code {code}; see {settings.LOG_DIR / self.name}.log"
                )
            log.error("Gateway %s died with exit code %d; it is started again", self.name, code)
            await asyncio.sleep(0.1 * 2**fast_deaths - 0.1)

    async def _run(self) -> int:
        ours, theirs = socket.socketpair()
        shared = self.shared.arguments if self.shared is not None else []
        with ours:
            ours.setblocking(False)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "scarfall.gateway_process", self.gateway),
                    *(str(self.listener.fileno()), str(theirs.fileno()), *map(str, shared)),
                    pass_fds=(self.listener.fileno(), theirs.fileno(), *shared[1:]),
                    env={
                        **os.environ,
                        "SCARFALL_PROCESS": self.name,
                        # Whichever directory manage.py was called from.
                        "PYTHONPATH": os.pathsep.join([str(BASE_DIR), *_python_path()]),
                    },
                    # Ctrl-C in the terminal reaches the parent only, which stops all in order.
                    start_new_session=True,
                )
            self._process = process
            try:
                if await asyncio.get_running_loop().sock_recv(ours, 1):
                    self.ready.set()
                return await process.wait()
            finally:
                if self.shared is not None:
                    self.shared.balance.leave(self.shared.process)
                await self._stop(process)

    def hang_up(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        # Nobody is to wait in the backlog of a port that is not served any more.
        if process.returncode is None:
            self.listener.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.returncode is not None:
                return
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()


def _python_path() -> list[str]:
    given = os.environ.get("PYTHONPATH")
    return given.split(os.pathsep) if given else []


def listen(variable: str, host: str, port: int) -> socket.socket:
    """A listening socket for `host`. Raises CannotStart that names the variable."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        where = f"{variable} {port}: {host}:{port}"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise CannotStart(f"{where} is already in use") from None
        raise CannotStart(f"{where} cannot be listened on: {error}") from None
    return listener


def serve(gateways: Sequence[str], migrate: Step, ready: Step) -> None:
    """Serves until a signal asks for the end. Raises CannotStart, with nothing left running."""
    _make_data_dir()
    if settings.TLS_CERT is not None:
        _check_certificate()
    with ExitStack() as stack:
        _make_metrics_dir(gateways)
        stack.callback(_remove_metrics_dir)
        processes: list[GatewayProcess] = []
        if "user" in gateways:
            listener = stack.enter_context(listen("PORT", settings.HOST, settings.PORT))
            count = settings.WEB_CONCURRENCY
            if count == 1:
                processes.append(GatewayProcess("user", "user", listener))
            else:
                processes += [
                    GatewayProcess("user", f"user-{shared.process + 1}", listener, shared)
                    for shared in _shared(count, stack)
                ]
        if "internal" in gateways:
            listener = stack.enter_context(
                listen("INTERNAL_PORT", settings.INTERNAL_HOST, settings.INTERNAL_PORT)
            )
            processes.append(GatewayProcess("internal", "internal", listener))
        if settings.REDIS_EMBEDDED:
            stack.enter_context(locked(settings.DATA_DIR))
        migrate()
        asyncio.run(_supervise(processes, ready))


def _make_data_dir() -> None:
    """SQLite lives there too, so it is wanted with a Redis elsewhere as well."""
    try:
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"DATA_DIR: cannot write {settings.DATA_DIR}: {error.strerror}") from None


def _make_metrics_dir(gateways: Sequence[str]) -> None:
    """Without the sockets of processes that were killed, of which there may be fewer now."""
    make_private(settings.METRICS_DIR)
    for gateway in gateways:
        for left_over in settings.METRICS_DIR.glob(f"{gateway}*.sock"):
            left_over.unlink(missing_ok=True)


def _remove_metrics_dir() -> None:
    with suppress(OSError):  # another server's processes are in it, or one was killed
        settings.METRICS_DIR.rmdir()


def _check_certificate() -> None:
    """Here it is said in words; a process could only die of it."""
    try:
        read_certificate(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
    except OSError as error:  # ssl.SSLError is one
        raise CannotStart(f"TLS_CERT, TLS_KEY: {error}") from None


def _shared(count: int, stack: ExitStack) -> list[Shared]:
    pairs = [socket.socketpair() for _ in range(count)]
    for end in (end for pair in pairs for end in pair):
        stack.enter_context(end)
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the stack
    stack.enter_context(file)
    balance = Balance.make(file.fileno(), count)
    outboxes = [outbox.fileno() for _, outbox in pairs]
    return [
        Shared(number, balance, [number, file.fileno(), inbox.fileno(), *outboxes])
        for number, (inbox, _) in enumerate(pairs)
    ]


async def _supervise(gateways: list[GatewayProcess], ready: Step) -> None:
    stopping = _cancel_on_signal()
    if settings.TLS_CERT is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _pass_on_hangup, gateways)
    valkey = EmbeddedValkey(
        settings.REDIS_SOCKET,
        settings.DATA_DIR,
        settings.LOG_DIR,
        durability=settings.DURABILITY,
    )
    try:
        if settings.REDIS_EMBEDDED:
            await valkey.start()
        async with asyncio.TaskGroup() as group:
            for gateway in gateways:
                group.create_task(gateway.keep())
            if settings.REDIS_EMBEDDED:
                group.create_task(valkey.keep())
            for gateway in gateways:
                await gateway.ready.wait()
            ready()
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        stopping.set()
        await valkey.stop()


def _pass_on_hangup(gateways: list[GatewayProcess]) -> None:
    for gateway in gateways:
        gateway.hang_up()


def _cancel_on_signal() -> asyncio.Event:
    """Signals cancel the calling task, until the event is set: a second Ctrl-C must not cut short
    the stopping that the first one began.
    """
    task = asyncio.current_task()
    assert task is not None
    stopping = asyncio.Event()

    def stop() -> None:
        if not stopping.is_set():
            stopping.set()
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return stopping
