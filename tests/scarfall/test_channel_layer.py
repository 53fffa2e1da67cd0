"""The channel layer as configured, on a real Valkey: idlers live, publishing ends in time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from redis.exceptions import RedisError

from scarfall import sockets
from scarfall.embedded import EmbeddedValkey
from scarfall.redis_url import of_socket

TIMEOUT_SECONDS = 0.3


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(sockets.path(tmp_path, "valkey.sock"), tmp_path, tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def layer(valkey: EmbeddedValkey) -> AsyncIterator[Any]:
    """Settings' own, with a shorter time-out, so that idling for longer is a matter of a second."""
    config: Any = settings.CHANNEL_LAYERS["default"]["CONFIG"]
    host = {
        **config["hosts"][0],
        "address": of_socket(valkey.socket, 0),
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
    }
    layer = RedisPubSubChannelLayer(hosts=[host], prefix=config["prefix"])
    yield layer
    await layer.flush()


async def test_an_idle_subscriber_still_hears(layer: Any) -> None:
    channel = await layer.new_channel()
    await asyncio.sleep(5 * TIMEOUT_SECONDS)  # the idling is what is tested
    await layer.send(channel, {"type": "nudge"})
    async with asyncio.timeout(5):
        assert await layer.receive(channel) == {"type": "nudge"}


async def test_publishing_to_a_stuck_server_ends_in_time_and_is_not_repeated(
    layer: Any, valkey: EmbeddedValkey
) -> None:
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "nudge", "number": 0})
    os.kill(valkey.pid, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        with pytest.raises(RedisError):
            await layer.send(channel, {"type": "nudge", "number": 1})
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert time.monotonic() - begun < 4 * TIMEOUT_SECONDS
    async with asyncio.timeout(5):
        await layer.send(channel, {"type": "nudge", "number": 2})
        numbers: list[int] = []
        while 2 not in numbers:
            numbers.append((await layer.receive(channel))["number"])
    assert numbers in ([0, 2], [0, 1, 2])
