"""The store's modules on a real server, below everything that uses them."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.keys import Keys
from gateways.store.place import Place
from tests.valkey import Valkey, running_valkey

TIMEOUT_SECONDS = 5.0


@pytest.fixture
def keys() -> Keys:
    return Keys(f"test-{secrets.token_hex(4)}:")


@pytest.fixture
async def batcher(valkey: Valkey) -> AsyncIterator[Batcher]:
    batcher = Batcher(
        connect(Place.of(valkey.url), timeout_seconds=TIMEOUT_SECONDS),
        timeout_seconds=TIMEOUT_SECONDS,
    )
    yield batcher
    await batcher.close()


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator["Redis"]:
    """Past the store, to break things and to look."""
    async with Redis.from_url(valkey.url) as client:
        yield client


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A server that a test may stop, kill, fill or reconfigure."""
    with running_valkey() as server:
        yield server
