import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer

from gateways.config import Config
from gateways.gateway import Gateway
from tests.postgresql import PostgreSQL, running_postgresql
from tests.valkey import Valkey, running_valkey

MakeGateway = Callable[..., Awaitable[Gateway]]


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """One server for all tests of a worker; each test has a key prefix of its own."""
    with running_valkey() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One server for all tests of a worker; whoever needs one makes a database of its own."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def config(valkey: Valkey) -> Config:
    """As shipped, but for the times that a test would have to wait for."""
    return Config(
        redis_url=valkey.url,
        redis_prefix=f"test-{secrets.token_hex(4)}:",
        offline_grace_seconds=0.3,
    )


@pytest.fixture
async def make_gateway(config: Config) -> AsyncIterator[MakeGateway]:
    """Gateways in this process, each a node, with the test's Config or another."""
    made: list[tuple[Gateway, RedisPubSubChannelLayer]] = []

    async def make(other: Config | None = None, *, start: bool = True) -> Gateway:
        used = other or config
        layer = RedisPubSubChannelLayer(hosts=[used.redis_url], prefix=used.redis_prefix)
        gateway = Gateway(used, layer)
        made.append((gateway, layer))
        if start:
            await gateway.start()
        return gateway

    yield make
    for gateway, layer in made:
        await gateway.stop()
        await layer.flush()


@pytest.fixture
async def gateway(make_gateway: MakeGateway) -> Gateway:
    return await make_gateway()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped is a test that failed: what it needs was to be installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
