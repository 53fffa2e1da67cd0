"""list_sessions and cleanup_sessions, over sessions of every kind."""

import asyncio
import json

import pytest
from django.core.management.base import CommandError
from pytest_django.fixtures import Settings

from gateways.config import Config
from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.keys import Keys
from gateways.store.nodes import NodeStore
from gateways.store.sessions import SessionRecord, SessionStore
from tests.gateways.management.conftest import Command

CONNECTED_MS = 1_700_000_000_000


@pytest.fixture
def open_sessions(config: Config) -> None:
    """Alice has two on a node that lives, one of them idle since 2023; bob has one whose node is
    gone.
    """

    async def work() -> None:
        redis = Batcher(connect(config.redis_url, timeout_seconds=5), timeout_seconds=5)
        keys = Keys(config.redis_prefix)
        nodes = NodeStore(redis, keys, lease_seconds=60)
        sessions = SessionStore(redis, keys, inbox_ttl_seconds=60)
        await nodes.renew("living", new_life="life")
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
        await redis.close()

    asyncio.run(work())


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


def test_nobody_is_listed_as_nobody(command: Command) -> None:
    assert command("list_sessions") == "0 sessions of 0 users.\n"
    assert json.loads(command("list_sessions", "--json")) == []


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
