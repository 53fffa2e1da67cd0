"""Clients that keep what they sent beside what they got, and what the two say of the contract."""

from collections.abc import Iterator
from typing import Any, Self

import websockets

from tests.asyncapi.contract import Contract, Frame
from tests.e2e.client import Client


class Recorded(Client):
    sent: list[Frame]

    async def send(self, frame: Any) -> None:
        if isinstance(frame, dict):
            self.sent.append(frame)
        await super().send(frame)


class Recording:
    """All clients of one gateway, and what was said between them and it."""

    def __init__(self, url: str, contract: Contract) -> None:
        self.url = url
        self.contract = contract
        self.clients: list[Recorded] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self.clients:
            await client.socket.close()

    async def dial(self, url: str | None = None) -> Recorded:
        client = Recorded(await websockets.connect(url or self.url, max_size=None))
        client.sent = []
        self.clients.append(client)
        return client

    async def play(self, client: Recorded, requests: dict[str, Any]) -> dict[str, Any]:
        """What was answered to each."""
        assert set(requests) <= self.contract.requests
        return {event: await client.request(event, data) for event, data in requests.items()}

    @property
    def frames(self) -> list[Frame]:
        return [frame for client in self.clients for frame in client.frames]

    def breaches(self) -> list[str]:
        """What the gateway said that it may not say."""
        return [breach for frame in self.frames for breach in self.contract.heard(frame)]

    def heard(self) -> set[str | None]:
        """The names of the messages that came."""
        return {self.contract.name_of(frame) for frame in self.frames}

    def answered(self, *, well: bool) -> set[str]:
        """The requests that were answered with what they asked for, or with a failure."""
        return {
            frame["event"]
            for frame in self.frames
            if "id" in frame and ("code" not in frame["data"]) == well
        }

    def misjudged(self) -> list[Frame]:
        """Requests that the contract takes and the gateway did not, or the other way around."""
        return [
            request
            for client in self.clients
            for request, reply in _pairs(client)
            if bool(self.contract.asked(request)) != (_code(reply) == "invalid_payload")
        ]

    def unheard(self) -> set[str]:
        """The fields that the document has and no frame had."""
        there = {key for frame in self.frames for key in _keys(frame)}
        return self.contract.fields() - there


def _pairs(client: Recorded) -> Iterator[tuple[Frame, Frame]]:
    replies = {frame["id"]: frame for frame in client.frames if "id" in frame}
    for request in client.sent:
        if request.get("id") in replies:
            yield request, replies[request["id"]]


def _code(reply: Frame) -> str | None:
    code: str | None = reply["data"].get("code")
    return code


def _keys(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            yield name
            yield from _keys(value)
    elif isinstance(part, list):
        for item in part:
            yield from _keys(item)
