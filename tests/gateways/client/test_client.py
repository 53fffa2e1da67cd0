"""The client against a real gateway: what it hears, and how it comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from gateways.client.client import Client
from gateways.client.events import (
    CannotConnect,
    Dropped,
    Ended,
    Event,
    Message,
    Refused,
    RequestFailed,
)
from gateways.protocol.events import Connected, Sessions
from tests.e2e.client import connect_as, token
from tests.e2e.conftest import (  # noqa: F401 - pytest finds fixtures by their names here
    Deploy,
    Name,
    deploy,
    name,
)
from tests.e2e.gateways import GatewayProcess
from tests.valkey import free_port


@pytest.fixture(scope="module")
def gateway_process(deploy: Deploy) -> GatewayProcess:  # noqa: F811
    return deploy(IDLE_TIMEOUT="1").start()


MakeClient = Callable[..., Client]


@pytest.fixture
def make(gateway_process: GatewayProcess) -> MakeClient:
    def make_client(
        user_id: str, *, lifetime_seconds: float = 3600, active_every_seconds: float = 0.2
    ) -> Client:
        return Client(
            gateway_process.url,
            lambda: token(user_id, lifetime_seconds=lifetime_seconds),
            device_id="test",
            active_every_seconds=active_every_seconds,
        )

    return make_client


async def first(events: AsyncIterator[Event], kind: type[Event]) -> Event:
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind}")


async def test_messages_come_once_and_in_order(make: MakeClient, name: Name) -> None:  # noqa: F811
    alice, bob = name("alice"), name("bob")
    async with make(alice) as sender:
        for number in range(3):
            receipt = await sender.send_message([bob], f"message {number}")
            assert receipt.recipients.queued == [bob]
    async with make(bob) as receiver:
        events = receiver.events()
        assert isinstance(await anext(events), Connected)
        messages = [await anext(events) for _ in range(3)]
    assert [m.message for m in messages if isinstance(m, Message)] == [
        "message 0",
        "message 1",
        "message 2",
    ]


async def test_who_seems_idle_comes_back(make: MakeClient, name: Name) -> None:  # noqa: F811
    async with make(name("alice"), active_every_seconds=60) as client:
        events = client.events()
        dropped = await first(events, Dropped)
        assert isinstance(dropped, Dropped)
        assert dropped.reason == "the session ended: idle"
        connected = await first(events, Connected)
        assert isinstance(connected, Connected)
        assert connected.recovered


async def test_a_token_that_runs_out_is_renewed_on_the_live_socket(
    gateway_process: GatewayProcess,
    name: Name,  # noqa: F811
) -> None:
    user_id = name("alice")
    renewed = asyncio.Event()
    lifetimes_seconds = iter([30.0, 3600.0])

    def next_token() -> str:
        lifetime_seconds = next(lifetimes_seconds)
        if lifetime_seconds > 60:
            renewed.set()
        return token(user_id, lifetime_seconds=lifetime_seconds)

    client = Client(gateway_process.url, next_token, device_id="test", active_every_seconds=0.1)
    async with client:
        # At once, since the first one has less than a minute left.
        async with asyncio.timeout(15):
            await renewed.wait()
        (session,) = (await client.ask("get_sessions", Sessions)).sessions
        assert session.current
        # Its answer was there before this one's, and is not taken for another connect.
        assert isinstance(await anext(client.events()), Connected)
        assert client._events.empty()


async def test_a_failure_that_would_repeat_itself_is_raised(
    make: MakeClient,
    name: Name,  # noqa: F811
) -> None:
    async with make(name("alice")) as client:
        with pytest.raises(RequestFailed) as caught:
            await client.send_message([], "to nobody")
    assert caught.value.failure.code == "invalid_payload"
    assert caught.value.retry_after_seconds is None


async def test_who_is_revoked_does_not_come_back(
    make: MakeClient,
    gateway_process: GatewayProcess,
    name: Name,  # noqa: F811
) -> None:
    user_id = name("alice")
    async with make(user_id) as client, connect_as(gateway_process.url, user_id) as other:
        for session in (await client.ask("get_sessions", Sessions)).sessions:
            if session.current:
                await other.request("close_session", {"sessionId": session.session_id})
        ended = await first(client.events(), Ended)
    assert ended == Ended("Closed from another session.")


async def test_a_token_that_is_not_taken_is_refused(gateway_process: GatewayProcess) -> None:
    client = Client(
        gateway_process.url, lambda: "no token", device_id="test", active_every_seconds=1
    )
    with pytest.raises(Refused):
        async with client:
            raise AssertionError("it was taken")


async def test_where_nobody_listens_it_can_not_connect() -> None:
    client = Client(
        f"ws://127.0.0.1:{free_port()}/ws", lambda: "", device_id="test", active_every_seconds=1
    )
    with pytest.raises(CannotConnect, match="nobody listens there"):
        async with client:
            raise AssertionError("somebody listened")
