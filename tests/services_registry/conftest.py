"""The registry on real databases: SQLite as shipped, in a file, and PostgreSQL.

Transactions are real ones here, not pytest-django's, which would hide what is sent after commit and
what other threads see.
"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import dj_database_url
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.management import call_command
from django.db import connection, connections
from pytest_django.fixtures import Settings
from pytest_django.plugin import DjangoDbBlocker

from services_registry import keys
from services_registry.models import Service, ServiceEvent
from tests.databases import sqlite, use
from tests.postgresql import PostgreSQL

T = TypeVar("T")


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def _database(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """A migrated database in the place of the configured one."""
    with django_db_blocker.unblock():
        if request.param == "sqlite":
            before = use(sqlite(tmp_path_factory.mktemp("database") / "db.sqlite3"))
        else:
            postgresql: PostgreSQL = request.getfixturevalue("postgresql")
            url = postgresql.create_database(f"registry-{secrets.token_hex(4)}")
            before = use(dict(dj_database_url.parse(url)))
        call_command("migrate", verbosity=0)
        yield
        use(before)


@pytest.fixture
def database(_database: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Without a row of another test's."""
    with django_db_blocker.unblock():
        yield
        ServiceEvent.objects.all().delete()
        Service.objects.all().delete()
        get_user_model().objects.all().delete()


@pytest.fixture(autouse=True)
def _forgotten_keys() -> Iterator[None]:
    yield
    keys._remembered.clear()
    keys._nobodys_hash.cache_clear()


@pytest.fixture
def quick_hashes(settings: Settings) -> None:
    """For tests that are not about what a hash costs."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    keys._nobodys_hash.cache_clear()


class CountedHasher(MD5PasswordHasher):
    """It counts in what slow ones cost: each hash that is made, also to check a key."""

    algorithm = "counted"
    made = 0

    def encode(self, password: str, salt: str) -> str:
        type(self).made += 1
        return super().encode(password, salt)


@pytest.fixture
def hashes_made(settings: Settings) -> Callable[[Callable[[], object]], int]:
    """How many hashes something costs."""
    settings.PASSWORD_HASHERS = [f"{__name__}.CountedHasher"]
    keys._nobodys_hash()

    def count(do: Callable[[], object]) -> int:
        before = CountedHasher.made
        do()
        return CountedHasher.made - before

    return count


@pytest.fixture
def no_layer(settings: Settings) -> None:
    """For tests that are not about notices."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture
def registry(database: None, quick_hashes: None, no_layer: None) -> None:
    """The registry, with nobody in it and nobody listening."""


def on_own_connection(do: Callable[[], T]) -> T:
    """For a thread of a test's. It may be another test's too, on another database."""
    try:
        return do()
    finally:
        connection.close()
        del connections["default"]


def at_once(*all_of_it: Callable[[], T]) -> list[T | Exception]:
    """What each returned or raised, in a thread and on a connection of its own."""
    barrier = Barrier(len(all_of_it))

    def run(do: Callable[[], T]) -> T | Exception:
        barrier.wait(10)
        try:
            return do()
        except Exception as error:  # noqa: BLE001
            return error

    with ThreadPoolExecutor(len(all_of_it)) as pool:
        return list(pool.map(lambda do: on_own_connection(lambda: run(do)), all_of_it))
