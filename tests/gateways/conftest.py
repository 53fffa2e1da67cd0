"""What is below a gateway of a test: its Redis, and the services registry. The registry's own tests
have it on all databases, and with hashes as slow as shipped.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from pytest_django.fixtures import Settings
from pytest_django.plugin import DjangoDbBlocker
from redis.asyncio import Redis

from gateways.config import Config
from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.keys import Keys
from gateways.store.place import Place
from services_registry import keys as service_keys, selectors, services
from services_registry.models import Service
from tests.databases import sqlite, use
from tests.gateways import services as theirs
from tests.gateways.readers import World
from tests.gateways.services import Held
from tests.valkey import Valkey, running_valkey


@pytest.fixture
async def redis(config: Config) -> AsyncIterator["Redis"]:
    """Past the store, to break things and to look."""
    async with Redis.from_url(config.redis_url) as client:
        yield client


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A server that a test may stop, kill, fill or reconfigure."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def keys(config: Config) -> Keys:
    return Keys(config.redis_prefix)


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Path:
    """An empty database, to be copied."""
    path = tmp_path_factory.mktemp("registry") / "db.sqlite3"
    with django_db_blocker.unblock():
        before = use(sqlite(path))
        call_command("migrate", verbosity=0)
        use(before)
    return path


@pytest.fixture
def services_database(
    _migrated: Path,
    tmp_path: Path,
    django_db_blocker: DjangoDbBlocker,
    settings: Settings,
    config: Config,
) -> Iterator[None]:
    """The test's own, nobody in it. Its notices go where the test's gateways listen."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [config.redis_url], "prefix": config.redis_prefix},
        }
    }
    service_keys._nobodys_hash.cache_clear()
    path = tmp_path / "registry.sqlite3"
    shutil.copy(_migrated, path)
    with django_db_blocker.unblock():
        before = use(sqlite(path))
        yield
        use(before)
    service_keys._remembered.clear()
    service_keys._nobodys_hash.cache_clear()


@pytest.fixture
def herald(services_database: None) -> Service:
    return theirs.add("herald", service_type="news", metadata={"desk": 3})


@pytest.fixture
def bank(services_database: None) -> Service:
    return theirs.add("bank")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """The look for a key, which goes on when the test says so."""
    held = Held(selectors.find_by_credentials)
    monkeypatch.setattr(selectors, "find_by_credentials", held)
    return held


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on the database fails."""

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("server closed the connection at 10.0.0.9")

    def break_it() -> None:
        for owner, name in (
            (selectors, "_find"),
            (selectors, "approved"),
            (selectors, "types"),
            (services, "note_authentication"),
            (services, "record_refusals"),
            (services, "register"),
        ):
            monkeypatch.setattr(owner, name, fail)

    return break_it


@pytest.fixture
async def batcher(valkey: Valkey) -> AsyncIterator[Batcher]:
    batcher = Batcher(connect(Place.of(valkey.url), timeout_seconds=5), timeout_seconds=5)
    yield batcher
    await batcher.close()


@pytest.fixture
def world(batcher: Batcher) -> World:
    return World(batcher)
