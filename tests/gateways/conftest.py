"""The services registry below a gateway of a test. Its own tests have it on all databases, and with
hashes as slow as shipped.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.management import call_command
from django.db import connection, connections
from pytest_django.fixtures import Settings
from pytest_django.plugin import DjangoDbBlocker

from gateways.config import Config
from services_registry import keys


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Path:
    """An empty database, to be copied."""
    path = tmp_path_factory.mktemp("registry") / "db.sqlite3"
    before = connections.settings["default"]
    with django_db_blocker.unblock():
        _use(_database(path))
        call_command("migrate", verbosity=0)
        _use(before)
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
    keys._nobodys_hash.cache_clear()
    path = tmp_path / "registry.sqlite3"
    shutil.copy(_migrated, path)
    before = connections.settings["default"]
    with django_db_blocker.unblock():
        _use(_database(path))
        yield
        _use(before)
    keys._remembered.clear()
    keys._nobodys_hash.cache_clear()


def _database(path: Path) -> Any:
    database = {**configured.DATABASES["default"], "NAME": path}
    return connections.configure_settings({"default": database})["default"]


def _use(database: Any) -> None:
    """For this thread from now on, and for threads to come."""
    connection.close()
    del connections["default"]
    connections.settings["default"] = database
