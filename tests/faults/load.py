"""Senders and recipients at work on all gateways, as clients in the field are: they come back,
resume, and send again what was not answered.
"""

import asyncio
import itertools
import json
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

from tests.e2e.client import eventually, token
from tests.faults import rows
from tests.faults.record import AWAY, Arrival, Received, Record
from tests.faults.sending import keep_sending

SENDERS = 20
RECIPIENTS = 50
PATIENCE_SECONDS = 40.0


class Member:
    """One user's client: connects, resumes, comes back."""

    def __init__(
        self, load: "Load", user_id: str, urls: list[str], address: str | None = None
    ) -> None:
        self.load = load
        self.user_id = user_id
        self.address = address
        self.epoch = ""
        self.seq = 0
        self.socket: ClientConnection | None = None
        self.connected = asyncio.Event()
        self._left: float | None = None
        self._urls = itertools.cycle(urls)
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Any]] = {}

    async def run(self) -> None:
        while True:
            try:
                # A gateway that is stopped takes connections and answers nothing.
                async with asyncio.timeout(5):
                    socket = await websockets.connect(
                        next(self._urls),
                        compression=None,
                        proxy=None,
                        max_size=None,
                        local_addr=(self.address, 0) if self.address else None,
                    )
                    await self._authenticate(socket)
                await self._follow(socket)
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            finally:
                self._disconnected()
            await asyncio.sleep(random.uniform(0.05, 0.3))

    async def request(self, event: str, data: Any) -> Any:
        """Raises ConnectionError where no reply came."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.connected.wait()
        socket = self.socket
        if socket is None:
            raise ConnectionError
        request_id = next(self._ids)
        reply = self._replies[request_id] = asyncio.get_running_loop().create_future()
        try:
            await socket.send(json.dumps({"event": event, "id": request_id, "data": data}))
            async with asyncio.timeout(10):
                return await reply
        except (websockets.WebSocketException, TimeoutError, OSError) as error:
            raise ConnectionError(str(error)) from error
        finally:
            self._replies.pop(request_id, None)

    async def _authenticate(self, socket: ClientConnection) -> None:
        data: dict[str, Any] = {"token": token(self.user_id)}
        if self.epoch:
            data["resume"] = {"epoch": self.epoch, "seq": self.seq}
        await socket.send(json.dumps({"event": "authenticate", "data": data}))

    async def _follow(self, socket: ClientConnection) -> None:
        async for raw in socket:
            frame = json.loads(raw)
            if "id" in frame:
                reply = self._replies.get(frame["id"])
                if reply is not None and not reply.done():
                    reply.set_result(frame["data"])
            else:
                self._pushed(socket, frame["event"], frame["data"])

    def _pushed(self, socket: ClientConnection, event: str, data: Any) -> None:
        record = self.load.record
        match event:
            case "connected":
                record.arrivals[self.user_id].append(
                    Arrival(
                        epoch=data["epoch"],
                        seq=data["seq"],
                        recovered=data["recovered"],
                        missed=data["missed"],
                        reason=data.get("reason"),
                        resumed=bool(self.epoch),
                    )
                )
                for statuses in record.heard[self.user_id].values():
                    if statuses[-1] != AWAY:
                        statuses.append(AWAY)
                self.epoch, self.seq = data["epoch"], data["seq"] - data["missed"]
                self.socket = socket
                self.connected.set()
                if self._left is not None:
                    record.absences.append(time.monotonic() - self._left)
            case "message":
                self.seq = data["seq"]
                record.received[self.user_id].append(
                    Received(data["id"], self.epoch, data["seq"], time.monotonic())
                )
            case "user_status_update":
                record.heard[self.user_id][data["userId"]].append(data["status"])
            case "error":
                record.refusals[data["code"]] += 1

    def _disconnected(self) -> None:
        if self.connected.is_set():
            self._left = time.monotonic()
        self.socket = None
        self.connected.clear()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionError())
                reply.exception()


class Load:
    def __init__(
        self, urls: list[str], *, senders: int, recipients: int, addresses: Sequence[str | None]
    ) -> None:
        self.record = Record()
        rotated = [urls[n % len(urls) :] + urls[: n % len(urls)] for n in range(len(urls))]
        place, source = itertools.cycle(rotated), itertools.cycle(addresses)
        self.recipients = [
            Member(self, f"r{n}", next(place), next(source)) for n in range(recipients)
        ]
        self.senders = [Member(self, f"s{n}", next(place), next(source)) for n in range(senders)]
        self._sending = True
        self._tasks: list[asyncio.Task[None]] = []
        self._work: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        members = self.recipients + self.senders
        self._tasks = [loop.create_task(member.run()) for member in members]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(member.connected.wait() for member in members))
        user_ids = [recipient.user_id for recipient in self.recipients]
        self._work = [
            loop.create_task(
                keep_sending(
                    self.record, number, sender.request, user_ids, going=lambda: self._sending
                )
            )
            for number, sender in enumerate(self.senders)
        ]

    async def progress(self, count: int) -> float:
        """Wait until so many more messages are answered; with a seed, until about so many. Returns
        how long that took, in seconds.
        """
        spread = random.uniform(0.5, 1.5) if os.environ.get("FAULTS_SEED") else 1
        begun, target = time.monotonic(), self.record.answered + round(count * spread)

        async def is_there() -> bool:
            return self.record.answered >= target

        await eventually(is_there, f"{count} more answers")
        return time.monotonic() - begun

    async def finish(self) -> Record:
        """Let every sender get its last answer, and every recipient what it was promised."""
        self._sending = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._work)
        with suppress(AssertionError):  # the record's judge says it better

            async def all_is_there() -> bool:
                return not self.record.outstanding()

            await eventually(all_is_there, "what was promised")
        return self.record

    async def stop(self) -> None:
        for task in (*self._work, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._work, *self._tasks, return_exceptions=True)


@asynccontextmanager
async def load(
    urls: list[str],
    *,
    senders: int = SENDERS,
    recipients: int = RECIPIENTS,
    addresses: Sequence[str | None] = (None,),
) -> AsyncIterator[Load]:
    """`addresses`: of this machine, where the clients come from in turn."""
    running = Load(urls, senders=senders, recipients=recipients, addresses=addresses)
    try:
        await running.start()
        yield running
        rows.note(running.record, senders=senders, recipients=recipients)
    finally:
        await running.stop()
