"""list_sessions and cleanup_sessions, over sessions of every kind."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from django.core.management.base import CommandError
from pytest_django.fixtures import Settings

from gateways.config import Config
from gateways.protocol.events import now_ms
from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.keys import Keys
from gateways.store.nodes import NodeStore
from gateways.store.place import Place
from gateways.store.records import SessionRecord
from gateways.store.service_sessions import ServiceSessionStore, StoredServiceSession
from gateways.store.sessions import SessionStore
from tests.gateways.management.conftest import Command

CONNECTED_MS = 1_700_000_000_000


@pytest.fixture
def open_sessions(config: Config) -> None:
    """Alice has two on a node that lives, one of them idle since 2023; bob has one whose node is
    gone.
    """

    async def work(redis: Batcher, keys: Keys) -> None:
        nodes = NodeStore(redis, keys, lease_seconds=60)
        sessions = SessionStore(redis, keys, inbox_ttl_seconds=60, inbox_max_messages=10)
        await nodes.renew("living", new_name="life")
        for user_id, session_id, device_info in (
            ("alice", "living.1", "phone"),
            ("alice", "living.2", {"os": "\x1b[31m"}),
            ("bob", "gone.1", None),
        ):
            await nodes.hold(session_id.partition(".")[0], user_id)
            await sessions.open(
                user_id,
                session_id,
                SessionRecord(f"device-{session_id}", device_info, CONNECTED_MS),
                email=None,
                new_epoch="e",
                resume=None,
            )
        await sessions.touch({"alice": {"living.1": CONNECTED_MS + 1000}})
        await redis.call("ZADD", keys.online(keys.shard("bob")), 0, "bob")

    asyncio.run(_on_store(config, work))


@pytest.fixture
def open_service_sessions(config: Config) -> None:
    """Herald has two on a node that lives, one of them idle since 2023; bank has one whose node is
    gone.
    """

    async def work(redis: Batcher, keys: Keys) -> None:
        await NodeStore(redis, keys, lease_seconds=60).renew("living", new_name="life")
        sessions = ServiceSessionStore(redis, keys)
        for number, (service_name, session_id, active_ms) in enumerate(
            (
                ("herald", "living.s1", CONNECTED_MS + 1000),
                ("bank", "gone.s1", CONNECTED_MS),
                ("herald", "living.s2", now_ms()),
            )
        ):
            connected_ms = CONNECTED_MS + number
            await sessions.open(
                StoredServiceSession(session_id, service_name, "::1", connected_ms, active_ms)
            )

    asyncio.run(_on_store(config, work))


async def _on_store(config: Config, work: Callable[[Batcher, Keys], Awaitable[None]]) -> None:
    redis = Batcher(connect(Place.of(config.redis_url), timeout_seconds=5), timeout_seconds=5)
    await work(redis, Keys(config.redis_prefix))
    await redis.close()


@pytest.mark.usefixtures("open_sessions")
def test_sessions_are_listed_as_json(command: Command) -> None:
    rows = json.loads(command("list_sessions", "--json"))
    assert [row["sessionId"] for row in rows] == ["living.1", "living.2", "gone.1"]
    assert rows[0] == {
        "userId": "alice",
        "sessionId": "living.1",
        "node": "living",
        "deviceId": "device-living.1",
        "deviceInfo": "phone",
        "connectedAt": "2023-11-14T22:13:20.000Z",
        "lastActivity": "2023-11-14T22:13:21.000Z",
    }


@pytest.mark.usefixtures("open_sessions")
def test_one_users_sessions_are_listed_as_lines(command: Command) -> None:
    out = command("list_sessions", "--user", "alice")
    header, first, second, summary = out.splitlines()
    assert header.split("\t")[:2] == ["user", "session"]
    assert first.split("\t")[:3] == ["alice", "living.1", "device-living.1 phone"]
    assert "\x1b" not in second
    assert summary == "2 sessions of 1 user."


@pytest.mark.usefixtures("open_sessions", "open_service_sessions")
def test_services_sessions_are_listed_on_their_own(command: Command) -> None:
    rows = json.loads(command("list_sessions", "--services", "--json"))
    assert [row["sessionId"] for row in rows] == ["gone.s1", "living.s1", "living.s2"]
    assert rows[1] == {
        "serviceName": "herald",
        "sessionId": "living.s1",
        "node": "living",
        "address": "::1",
        "connectedAt": "2023-11-14T22:13:20.000Z",
        "lastActivity": "2023-11-14T22:13:21.000Z",
    }
    header, first, *_, summary = command("list_sessions", "--services").splitlines()
    assert header.split("\t") == ["service", "session", "address", "connected", "last activity"]
    assert first.split("\t")[:3] == ["bank", "gone.s1", "::1"]
    assert summary == "3 sessions of 2 services."
    assert "herald" not in command("list_sessions")


def test_nobody_is_listed_as_nobody(command: Command) -> None:
    assert command("list_sessions") == "0 sessions of 0 users.\n"
    assert command("list_sessions", "--services") == "0 sessions of 0 services.\n"
    for options in ([], ["--services"]):
        assert json.loads(command("list_sessions", "--json", *options)) == []


def test_services_are_nobodys_sessions(command: Command) -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        command("list_sessions", "--services", "--user", "alice")


@pytest.mark.usefixtures("open_sessions")
def test_a_dry_run_ends_nothing(command: Command) -> None:
    out = command("cleanup_sessions", "--dry-run", "--idle", "60")
    assert "alice\tliving.1\t2023-11-14T22:13:21.000Z\tidle for" in out
    assert "bob\tgone.1\t" in out
    assert "its node is gone" in out
    assert out.endswith("2 found, none ended: a dry run.\n")
    assert len(json.loads(command("list_sessions", "--json"))) == 3


@pytest.mark.usefixtures("open_sessions")
def test_what_should_not_be_there_is_ended(command: Command) -> None:
    assert command("cleanup_sessions").endswith("1 found and ended.\n")
    assert command("cleanup_sessions", "--idle", "60").endswith("1 found and ended.\n")
    (row,) = json.loads(command("list_sessions", "--json"))
    assert row["sessionId"] == "living.2"
    assert command("cleanup_sessions") == "0 found and ended.\n"


@pytest.mark.usefixtures("open_sessions", "open_service_sessions")
def test_services_sessions_are_cleaned_up_with_the_users(command: Command) -> None:
    def left() -> list[str]:
        rows = json.loads(command("list_sessions", "--services", "--json"))
        return [row["sessionId"] for row in rows]

    out = command("cleanup_sessions", "--dry-run", "--idle", "60")
    assert "service\tsession\tlast activity\twould end\n" in out
    assert "bank\tgone.s1\t2023-11-14T22:13:20.000Z\tits node is gone\n" in out
    assert "herald\tliving.s1\t2023-11-14T22:13:21.000Z\tidle for" in out
    assert out.endswith("4 found, none ended: a dry run.\n")
    assert left() == ["gone.s1", "living.s1", "living.s2"]
    assert command("cleanup_sessions").endswith("2 found and ended.\n")
    assert left() == ["living.s1", "living.s2"]
    assert command("cleanup_sessions", "--idle", "60").endswith("2 found and ended.\n")
    assert left() == ["living.s2"]
    assert command("cleanup_sessions", "--idle", "60") == "0 found and ended.\n"


def test_idle_wants_seconds(command: Command) -> None:
    with pytest.raises(CommandError, match="--idle: got 'long'; expected a number of seconds"):
        command("cleanup_sessions", "--idle", "long")


@pytest.mark.parametrize("name", ["cleanup_sessions", "list_sessions"])
def test_without_redis_it_says_so_in_one_line(
    command: Command, settings: Settings, name: str
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(CommandError, match="Redis does not answer") as caught:
        command(name)
    assert "\n" not in str(caught.value)
