"""The store's modules on a real server, below everything that uses them."""

import secrets
from collections.abc import AsyncIterator

import pytest

from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.keys import Keys
from gateways.store.place import Place
from tests.valkey import Valkey

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
