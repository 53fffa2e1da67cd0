"""A hub on a real inbox, and sessions whose sockets only remember what they were sent."""

import asyncio
import json
import secrets
from typing import Any

from gateways.hub import Hub
from gateways.nudges import MessageNudge
from gateways.ordering import Order
from gateways.outbound import AsgiSocket, Outbound
from gateways.protocol.codec import Codec
from gateways.protocol.plain import PlainCodec
from gateways.session import Identity, Session
from gateways.store.batcher import Batcher
from gateways.store.inbox import InboxStore
from gateways.store.keys import Keys
from gateways.trail import Trail

CODEC: Codec = PlainCodec()


async def publish_to_nobody(user_id: str, report: bytes) -> None:
    raise AssertionError((user_id, report))


NOBODY_LOOKS = Trail("node", publish_to_nobody)


class Reader:
    """A session and what its socket was sent."""

    def __init__(self, user_id: str = "bob", *, max_bytes: int = 1_000_000) -> None:
        self.frames: list[Any] = []
        self.close_code: int | None = None
        self.reading = asyncio.Event()
        self.reading.set()
        self.session = Session(
            user_id=user_id,
            session_id=f"node.{secrets.token_hex(4)}",
            codec=CODEC,
            outbound=Outbound(AsgiSocket(self._send), self._send, max_bytes=max_bytes),
            identity=Identity(user_id, 0.0),
            order=Order(),
            put_back=self._put_back,
        )

    async def _put_back(self) -> None:
        raise AssertionError("the hub puts nothing back")

    @property
    def seqs(self) -> list[int]:
        return [f["data"]["seq"] for f in self.frames if f["event"] == "message"]

    @property
    def messages(self) -> list[str]:
        return [f["data"]["message"] for f in self.frames if f["event"] == "message"]

    async def _send(self, message: dict[str, Any]) -> None:
        await self.reading.wait()
        if message["type"] == "websocket.close":
            self.close_code = message["code"]
        else:
            self.frames.append(json.loads(message["text"]))


class World:
    """A hub, the store's inbox, and a user whose messages are stored there."""

    def __init__(self, batcher: Batcher, *, max_messages: int = 1000) -> None:
        self.keys = Keys(f"test-{secrets.token_hex(6)}:")
        self.inbox = InboxStore(batcher, self.keys, ttl_seconds=60, max_messages=max_messages)
        self.other_epochs = 0
        self.hub = Hub(self.inbox, NOBODY_LOOKS, on_other_epoch=self._count)
        self.stored: list[bytes] = []

    def _count(self) -> None:
        self.other_epochs += 1

    async def store(self, count: int = 1) -> list[int]:
        seqs = []
        for _ in range(count):
            text = b'{"message":"%d"}' % (len(self.stored) + 1)
            (outcome,) = await self.inbox.deliver(["bob"], text, repeat_key=None, new_epoch="e")
            self.stored.append(text)
            seqs.append(outcome.seq)
        return seqs

    def nudge(self, *seqs: int, epoch: str = "e") -> None:
        for seq in seqs:
            self.hub.on_message(MessageNudge(self.stored[seq - 1], [("bob", seq, epoch)]))

    def attach(self, position: int = 0, *, max_bytes: int = 1_000_000) -> Reader:
        reader = Reader(max_bytes=max_bytes)
        self.hub.attach(reader.session)
        self.hub.place(
            reader.session, position=position, newest=len(self.stored), epoch="e", opened_ms=1
        )
        return reader

    def reconcile(self) -> None:
        self.hub.reconcile("bob", epoch="e", seq=len(self.stored))
