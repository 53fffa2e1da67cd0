"""`manage.py serve`: one parent that binds the ports, starts every process and outlives them all.

It stops on SIGTERM and SIGINT and leaves no process behind; on SIGHUP too, which a terminal sends
that goes away, unless there is a certificate to be read anew.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import ssl
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from django.conf import settings

from gateways.server.balance import Balance
from gateways.server.certificate import read_certificate
from scarfall.child import GatewayProcess, Shared
from scarfall.embedded import CannotStart, EmbeddedValkey, locked, make_private

BACKLOG = 2048

Step = Callable[[], None]


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
        # Not before: another server may be running, whose sockets these are.
        _make_metrics_dir(gateways)
        stack.callback(_remove_metrics_dir)
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
