"""Stock clients at work on all gateways: senders and recipients that recover by themselves."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.client import eventually, token
from tests.faults import rows
from tests.faults.proxy import Proxy
from tests.faults.record import Received, Record
from tests.faults.sending import keep_sending
from tests.socketio.clients import JsClient, Node

SENDERS = 20
RECIPIENTS = 50
PATIENCE_SECONDS = 60.0
TRANSPORTS = [["polling", "websocket"], ["websocket"], ["polling"]]


class TurningProxy(Proxy):
    """A balancer that is told where to send its clients."""

    def point(self, target_port: int) -> None:
        """The next connections go to another port; those there are stay, until they end."""
        self._target_port = target_port

    def turn(self, target_port: int) -> None:
        """Those there are are reset, too."""
        self.point(target_port)
        self.cut()


@asynccontextmanager
async def turning(target_port: int) -> AsyncIterator[TurningProxy]:
    proxy = TurningProxy(target_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


class StockLoad:
    """Clients over every transport, authenticated by `auth` or by an event, at the URLs in turn.
    A sender sends again, under the same id, what was not answered.

    `prefix`: of the names of its users, so that another load may be at work beside it; `options`:
    of every client.
    """

    def __init__(
        self,
        node: Node,
        urls: Sequence[str],
        *,
        senders: int = SENDERS,
        recipients: int = RECIPIENTS,
        prefix: str = "",
        **options: Any,
    ) -> None:
        self.record = Record()
        self._node = node
        self._urls = urls
        self._users = [f"{prefix}r{n}" for n in range(recipients)]
        self._users += [f"{prefix}s{n}" for n in range(senders)]
        self._recipient_count = recipients
        self._options = options
        self._recipients: dict[str, JsClient] = {}
        self._senders: list[JsClient] = []
        self._sending = True
        self._work: list[asyncio.Task[None]] = []

    @property
    def clients(self) -> list[JsClient]:
        return [*self._recipients.values(), *self._senders]

    def at(self, place: int) -> list[JsClient]:
        """Those that began at one of the addresses."""
        return self.clients[place :: len(self._urls)]

    async def start(self) -> None:
        users, count = self._users, self._recipient_count
        urls = itertools.cycle(self._urls)
        clients = [self._open(n, user_id, next(urls)) for n, user_id in enumerate(users)]
        for number, (client, user_id) in enumerate(zip(clients, users, strict=True)):
            await client.once("connect")
            if not _in_auth(number):
                client.emit("authenticate", {"token": token(user_id)})
        for client in clients:
            await client.given("connected")
        self._recipients = dict(zip(users[:count], clients[:count], strict=True))
        self._senders = clients[count:]
        self._work = [
            asyncio.create_task(
                keep_sending(
                    self.record,
                    number,
                    sender.attempt,
                    list(self._recipients),
                    going=lambda: self._sending,
                )
            )
            for number, sender in enumerate(self._senders)
        ]

    async def progress(self, count: int) -> None:
        """Wait until so many more messages are answered."""
        target = self.record.answered + count

        async def is_there() -> bool:
            for task in self._work:
                if task.done():
                    task.result()  # it ended as no sender ends: say why
            return self.record.answered >= target

        await eventually(is_there, f"{count} more answers")

    async def finish(self) -> Record:
        """Let every sender get its last answer, and every recipient what it was promised."""
        self._sending = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._work)
        promised: dict[str, set[str]] = {user_id: set() for user_id in self._recipients}
        for sent in self.record.sent.values():
            for user_id in sent.accepted:
                promised[user_id].add(sent.message_id)
        for user_id, client in self._recipients.items():
            await client.until(
                lambda: promised[user_id] <= {given[0]["id"] for given in client.seen("message")},  # noqa: B023
                f"all of {len(promised[user_id])} messages",
            )
            for message, offset in client.seen("message"):
                epoch, _, seq = offset.rpartition(":")
                assert int(seq) == message["seq"]
                self.record.received[user_id].append(
                    Received(message["id"], epoch, message["seq"], time.monotonic())
                )
        self.record.absences = [absence for client in self.clients for absence in _absences(client)]
        return self.record

    def not_recovered(self) -> list[dict[str, Any]]:
        """Every return of a client that was no recovery; none is right."""
        return [
            connect
            for client in self.clients
            for connect in client.of_kind("connect")[1:]
            if connect["recovered"] is not True
        ]

    async def stop(self) -> None:
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def _open(self, number: int, user_id: str, url: str) -> JsClient:
        auth: dict[str, Any] = {"recovery": True}
        if _in_auth(number):
            auth["token"] = token(user_id)
        return self._node.open(
            url,
            auth=auth,
            transports=TRANSPORTS[number // 4 % 3],
            reconnectionDelay=100,
            reconnectionDelayMax=500,
            **self._options,
        )


def _absences(client: JsClient) -> Iterator[float]:
    left = None
    for what in client.happened:
        if what["kind"] == "disconnect":
            left = what["at"]
        elif what["kind"] == "connect" and left is not None:
            yield what["at"] - left
            left = None


def _in_auth(number: int) -> bool:
    """Two by two: so at every port there are some of either kind, over each transport."""
    return number // 2 % 2 == 0


@asynccontextmanager
async def stock_load(
    node: Node,
    urls: Sequence[str],
    *,
    senders: int = SENDERS,
    recipients: int = RECIPIENTS,
    **options: Any,
) -> AsyncIterator[StockLoad]:
    """`options`: of StockLoad, and of every client."""
    load = StockLoad(node, urls, senders=senders, recipients=recipients, **options)
    try:
        await load.start()
        yield load
        rows.note(load.record, senders=senders, recipients=recipients, timed=False)
    finally:
        await load.stop()
