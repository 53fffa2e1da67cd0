"""python-socketio's clients, both of them, as they come."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from tests.e2e.client import connect_as, token
from tests.e2e.conftest import Name, Pair
from tests.e2e.gateways import GatewayProcess
from tests.socketio.conftest import HERALD_KEY, both_transports

PATIENCE_SECONDS = 20.0


class Events:
    """What a client's handlers were given, from whichever thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._happened: list[tuple[str, Any]] = []

    def note(self, event: str, *given: Any) -> None:
        with self._changed:
            self._happened.append((event, given))
            self._changed.notify_all()

    def given(self, event: str, count: int = 1) -> list[Any]:
        """What came with each of an event, once there are so many."""

        def so_far() -> list[Any]:
            return [given for name, given in self._happened if name == event]

        with self._changed:
            assert self._changed.wait_for(lambda: len(so_far()) >= count, PATIENCE_SECONDS), (
                f"waited in vain for {count} of {event}: {self._happened}"
            )
            return so_far()


@pytest.fixture
async def client() -> AsyncIterator[socketio.AsyncClient]:
    client = socketio.AsyncClient(reconnection_delay=0.1)
    yield client
    await client.disconnect()


def listen(client: socketio.AsyncClient | socketio.Client) -> Events:
    events = Events()
    for event in ("connected", "message", "disconnect", "authentication_error"):
        client.on(event, lambda *given, event=event: events.note(event, *given))
    return events


async def given(events: Events, event: str, count: int = 1) -> list[Any]:
    return await asyncio.to_thread(events.given, event, count)


@pytest.mark.parametrize("transports", [None, ["polling"], ["websocket"]])
async def test_the_asynchronous_client(
    pair: Pair, client: socketio.AsyncClient, name: Name, transports: list[str] | None
) -> None:
    events = listen(client)
    url = f"http://127.0.0.1:{pair.first.port}"
    await client.connect(url, transports=transports)
    assert set(await client.call("ping")) == {"timestamp"}
    await client.emit("authenticate", {"token": token(name("alice"))})
    ((connected,),) = await given(events, "connected")
    assert connected["user"]["socketId"] == client.get_sid()
    assert client.transport() == ("polling" if transports == ["polling"] else "websocket")
    async with connect_as(pair.second.url, name("bob")) as bob:
        receipt = await client.call(
            "send_message", {"recipientIds": [name("bob")], "message": "hello"}
        )
        assert receipt["recipients"]["sent"] == [name("bob")]
        assert await bob.texts(1) == ["hello"]
        await bob.message(name("alice"), "héllo")
    ((message,),) = await given(events, "message")
    assert (message["message"], message["seq"]) == ("héllo", 1)


@both_transports
async def test_the_synchronous_client(pair: Pair, name: Name, transport: str) -> None:
    client = socketio.Client()
    events = listen(client)

    def converse() -> Any:
        client.connect(
            f"http://127.0.0.1:{pair.first.port}",
            auth={"token": token(name("alice"))},
            transports=[transport],
        )
        try:
            events.given("connected")
            assert set(client.call("ping")) == {"timestamp"}
            client.call("send_message", {"recipientIds": [name("alice")], "message": "to myself"})
            (message,) = events.given("message")
            return message
        finally:
            client.disconnect()

    (message,) = await asyncio.to_thread(converse)
    assert message["message"] == "to myself"


async def test_a_bad_token(gateways: GatewayProcess, client: socketio.AsyncClient) -> None:
    events = listen(client)
    await client.connect(f"http://127.0.0.1:{gateways.port}", auth={"token": "bad"})
    await given(events, "authentication_error")
    assert await given(events, "disconnect") == [(client.reason.SERVER_DISCONNECT,)]


async def test_another_namespace_is_refused(
    gateways: GatewayProcess, client: socketio.AsyncClient
) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(f"http://127.0.0.1:{gateways.port}", namespaces=["/other"])


async def test_attachments_are_refused(
    gateways: GatewayProcess, client: socketio.AsyncClient, name: Name
) -> None:
    events = listen(client)
    url = f"http://127.0.0.1:{gateways.port}"
    await client.connect(url, auth={"token": token(name("alice"))})
    await given(events, "connected")
    data = {"recipientIds": [name("alice")], "message": "x", "metadata": {"picture": b"\x01"}}
    assert (await client.call("send_message", data))["code"] == "invalid_payload"
    assert set(await client.call("ping")) == {"timestamp"}


async def test_a_service(gateways: GatewayProcess, client: socketio.AsyncClient) -> None:
    await client.connect(f"http://127.0.0.1:{gateways.internal_port}")
    credentials = {"serviceName": "herald", "serviceKey": HERALD_KEY}
    answer = await client.call("authenticate_service", credentials)
    assert answer["serviceName"] == "herald"
    assert (await client.call("ping"))["service"]["name"] == "herald"


async def test_with_recovery_its_handlers_count_the_offset(
    pair: Pair, client: socketio.AsyncClient, name: Name
) -> None:
    """Its message handlers must take one more argument: so recovery is asked for, or off."""
    events = listen(client)
    auth = {"token": token(name("alice")), "recovery": True}
    await client.connect(f"http://127.0.0.1:{pair.first.port}", auth=auth)
    await given(events, "connected")
    await client.call("send_message", {"recipientIds": [name("alice")], "message": "x"})
    ((message, offset),) = await given(events, "message")
    assert offset.endswith(f":{message['seq']}")
