"""Through the real channel layer, to a node that listens."""

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from pytest_django.fixtures import Settings

from services_registry import notices, selectors, services
from services_registry.models import Service
from services_registry.services import Actor
from tests.services_registry.conftest import on_own_connection
from tests.valkey import Valkey, free_port, running_valkey

OPERATOR = Actor("olga")
Run = Callable[[Callable[[], Any]], Awaitable[Any]]


async def in_plain_thread(do: Callable[[], Any]) -> Any:
    """As a gateway's executor does."""
    return await asyncio.to_thread(on_own_connection, do)


async def in_asgi_thread(do: Callable[[], Any]) -> Any:
    """As Django runs a view of the admin."""
    return await sync_to_async(on_own_connection)(do)


def layer_at(settings: Settings, url: str) -> None:
    """As shipped, but for the place."""
    host = settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]
    settings.CHANNEL_LAYERS = {
        "default": {
            **settings.CHANNEL_LAYERS["default"],
            "CONFIG": {
                "hosts": [{**host, "address": url}],
                "prefix": f"test-{secrets.token_hex(4)}:",
            },
        }
    }


@pytest.fixture
def layer(valkey: Valkey, settings: Settings) -> None:
    layer_at(settings, valkey.url)


@pytest.fixture
def billing(database: None, quick_hashes: None) -> None:
    services.register(
        "billing",
        "the-key-of-billing",
        service_type="payments",
        origin=Service.Origin.OPERATOR,
        actor=OPERATOR,
    )


class Node:
    """What a gateway's node hears."""

    async def __aenter__(self) -> Self:
        self.layer = get_channel_layer()
        self.channel = await self.layer.new_channel()
        await self.layer.group_add(notices.GROUP, self.channel)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.layer.flush()

    async def hears(self) -> Any:
        async with asyncio.timeout(5):
            return await self.layer.receive(self.channel)

    async def hears_nothing_before(self, message: dict[str, Any]) -> None:
        await self.layer.group_send(notices.GROUP, message)
        assert await self.hears() == message


def disable() -> None:
    services.disable("billing", OPERATOR)


@pytest.mark.parametrize("run", [in_plain_thread, in_asgi_thread])
async def test_every_node_hears_of_a_change(billing: None, layer: None, run: Run) -> None:
    async with Node() as node, Node() as other:
        await run(disable)
        heard = {"type": "service.changed", "service_name": "billing"}
        assert await node.hears() == heard
        assert await other.hears() == heard


async def test_after_the_commit_and_not_before(billing: None, layer: None) -> None:
    def change() -> float:
        with transaction.atomic():
            disable()
            time.sleep(0.3)
            return time.monotonic()

    async with Node() as node:
        committing = asyncio.ensure_future(in_plain_thread(change))
        await node.hears()
        heard_at = time.monotonic()
        assert heard_at > await committing


async def test_not_of_what_was_rolled_back_nor_of_what_changed_nothing(
    billing: None, layer: None
) -> None:
    def roll_back() -> None:
        with transaction.atomic():
            disable()
            transaction.set_rollback(True)

    async with Node() as node:
        await in_plain_thread(roll_back)
        await in_plain_thread(lambda: services.enable("billing", OPERATOR))
        await node.hears_nothing_before({"type": "the.end"})


def test_from_a_command(billing: None, layer: None, valkey: Valkey) -> None:
    """No loop runs there, and no connection is left."""
    with valkey.client() as client:
        before = len(client.client_list())
        for _ in range(5):
            disable()
            services.enable("billing", OPERATOR)
        assert len(client.client_list()) == before


async def test_on_an_event_loop_nothing_is_done_at_all(billing: None, layer: None) -> None:
    with pytest.raises(SynchronousOnlyOperation):
        disable()
    assert await in_plain_thread(lambda: selectors.get("billing").enabled)


@pytest.mark.parametrize("run", [in_plain_thread, in_asgi_thread])
async def test_a_layer_that_is_away_does_not_fail_the_write(
    billing: None, settings: Settings, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    layer_at(settings, f"redis://127.0.0.1:{free_port()}/0")
    with caplog.at_level(logging.WARNING, notices.log.name):
        await run(disable)
    assert not await in_plain_thread(lambda: selectors.get("billing").enabled)
    assert "service billing not sent: ConnectionError" in caplog.text


def test_a_layer_that_hangs_does_not_hold_the_write_up(
    billing: None, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_TIMEOUT = 0.5
    with running_valkey() as stopped:
        layer_at(settings, stopped.url)
        stopped.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            disable()
            assert time.monotonic() - start < 1.5
        finally:
            stopped.process.send_signal(signal.SIGCONT)
    assert not selectors.get("billing").enabled
    assert "not sent: TimeoutError" in caplog.text


def test_a_layer_that_is_not_configured_does_not_fail_the_write(
    billing: None, settings: Settings
) -> None:
    settings.CHANNEL_LAYERS = {}
    disable()
    assert not selectors.get("billing").enabled
