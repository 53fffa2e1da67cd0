"""A gateway process as its parent sees it: started, listened to, and started again when it dies.

It inherits its listening socket, so a port has no gap meanwhile, and one end of a socket pair, its
lifeline. There it says that it is ready, and then every second that it is alive; an end of file
tells it that the parent is gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass

from django.conf import settings

from gateways.server.balance import Balance
from scarfall.embedded import CannotStart
from scarfall.environment import BASE_DIR
from scarfall.gateway_process import DUMP_SIGNAL

log = logging.getLogger(__name__)

STOP_SECONDS = 10.0
"""For the gateways to say goodbye; what is left of the 15 s is Valkey's."""
FAST_DEATH_SECONDS = 10.0
FAST_DEATHS = 5
LISTEN_SECONDS = 2.0
"""For a sign of life, of which there is one each second."""
SILENCES = 2
"""After so many a process that shares its port gets no more connections."""
DUMP_SECONDS = 0.5
"""For a process to say where it stands, before it is killed."""


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
                hangs = False
                if await asyncio.get_running_loop().sock_recv(ours, 1):
                    self.ready.set()
                    hangs = await self._hangs(ours)
                return await self._ended(process, hangs=hangs)
            finally:
                if self.shared is not None:
                    self.shared.balance.leave(self.shared.process)
                await self._stop(process)

    async def _hangs(self, lifeline: socket.socket) -> bool:
        """Whether it gave no sign of life for HANG_TIMEOUT; else it has let go of its lifeline."""
        receive = asyncio.get_running_loop().sock_recv
        # Counted, not timed: while a whole machine was suspended, nobody listened either.
        silences = 0
        while not 0 < settings.HANG_TIMEOUT <= silences * LISTEN_SECONDS:
            try:
                async with asyncio.timeout(LISTEN_SECONDS):
                    if not await receive(lifeline, 64):
                        return False
                silences = 0
            except TimeoutError:
                silences += 1
                if silences >= SILENCES and self.shared is not None:
                    self.shared.balance.leave(self.shared.process)
        return True

    async def _ended(self, process: asyncio.subprocess.Process, *, hangs: bool) -> int:
        """Its exit code, whether or not it ends by itself."""
        with suppress(ProcessLookupError):
            if hangs:
                log.error("Gateway %s hangs; it is killed", self.name)
                process.send_signal(DUMP_SIGNAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(DUMP_SECONDS if hangs else STOP_SECONDS):
                    return await process.wait()
            process.kill()
        return await process.wait()

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
