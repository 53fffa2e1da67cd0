import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management.base import CommandError
from pytest_django.fixtures import Settings

from gateways.config import Config
from gateways.domain.friends import Friends
from gateways.management import operators
from gateways.store.errors import StoreUnavailable
from tests.gateways.management.conftest import Command
from tests.valkey import Valkey


def line(user_id: Any, *friend_ids: Any) -> str:
    return json.dumps({"userId": user_id, "friendIds": friend_ids}) + "\n"


def friends_of(*user_ids: str) -> list[list[str]]:
    async def ask() -> list[list[str]]:
        async with operators.gateway() as gateway:
            return [await gateway.friends.of(user_id) for user_id in user_ids]

    return asyncio.run(ask())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "friends.jsonl"


def test_lists_are_set(command: Command, file: Path) -> None:
    file.write_text(line("alice", "bob", "carol", "alice") + "\n" + line("bob", "alice"))
    assert command("import_friends", str(file)) == "2 lists imported.\n"
    assert friends_of("alice", "bob") == [["bob", "carol"], ["alice"]]


def test_a_later_list_of_a_user_counts(command: Command, file: Path) -> None:
    file.write_text(line("alice", "bob") + line("alice", "carol"))
    command("import_friends", str(file))
    assert friends_of("alice") == [["carol"]]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "expected valid JSON"),
        ("[]", "Expected `object`"),
        (line(7, "bob"), "userId: Expected `str`"),
        (line("", "bob"), "userId: Expected `str` of length >= 1"),
        (line("a" * 129, "bob"), "userId: Expected `str` of length <= 128"),
        (line("alice", "b\x1bob"), "friendIds: expected printable characters only"),
        ('{"userId": "alice"}\n', "missing required field `friendIds`"),
        ("\udcff\n", "expected valid JSON in UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_skipped(
    command: Command, file: Path, capsys: pytest.CaptureFixture[str], bad: str, reason: str
) -> None:
    text = line("alice", "bob") + bad.rstrip("\n") + "\n" + line("bob", "alice")
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(CommandError, match="1 could not be read and were skipped"):
        command("import_friends", str(file))
    (named,) = capsys.readouterr().err.splitlines()
    assert named.startswith("friends.jsonl:2: ")
    assert reason in named
    assert friends_of("alice", "bob") == [["bob"], ["alice"]]


class Interrupting:
    """Friends.set that fails for one user, once: Redis went away at that line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, user_id: str) -> None:
        self.imported: list[str] = []
        self.failing = True
        really_set = Friends.set

        async def set_(friends: Friends, owner_id: str, friend_ids: list[str]) -> int:
            if owner_id == user_id and self.failing:
                raise StoreUnavailable("Redis does not answer: it is gone")
            self.imported.append(owner_id)
            return await really_set(friends, owner_id, friend_ids)

        monkeypatch.setattr(Friends, "set", set_)


@pytest.fixture
def interrupted(command: Command, file: Path, monkeypatch: pytest.MonkeyPatch) -> Interrupting:
    """An import of 100 lists, one of them bad, that broke off at list 50."""
    lines = [line(f"user-{number:02}", "bob") for number in range(100)]
    lines[3] = "bad\n"
    file.write_text("".join(lines))
    interrupting = Interrupting(monkeypatch, "user-50")
    with pytest.raises(CommandError, match="it is gone"):
        command("import_friends", str(file))
    assert "user-47" in interrupting.imported
    interrupting.failing = False
    interrupting.imported.clear()
    return interrupting


def test_an_interrupted_import_goes_on_where_it_stopped(
    command: Command, file: Path, interrupted: Interrupting, settings: Settings
) -> None:
    assert list(settings.DATA_DIR.iterdir())
    with pytest.raises(CommandError, match="1 could not be read"):
        command("import_friends", str(file))
    assert interrupted.imported[0] == "user-48"
    assert interrupted.imported[-1] == "user-99"
    assert all(friends == ["bob"] for friends in friends_of("user-00", "user-50", "user-99"))
    assert not list(settings.DATA_DIR.iterdir())


def test_restart_begins_at_the_first_line(
    command: Command, file: Path, interrupted: Interrupting
) -> None:
    with pytest.raises(CommandError, match="1 could not be read"):
        command("import_friends", str(file), "--restart")
    assert len(interrupted.imported) == 99


def test_a_file_that_changed_begins_at_the_first_line(
    command: Command, file: Path, interrupted: Interrupting
) -> None:
    file.write_text(line("user-00", "carol"))
    assert command("import_friends", str(file)) == "1 lists imported.\n"
    assert interrupted.imported == ["user-00"]


def test_another_store_is_another_import(
    command: Command, file: Path, interrupted: Interrupting, settings: Settings
) -> None:
    settings.REDIS_PREFIX += "other:"
    with pytest.raises(CommandError, match="1 could not be read"):
        command("import_friends", str(file))
    assert len(interrupted.imported) == 99


def test_a_file_that_is_not_there_is_named(command: Command, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.jsonl: No such file"):
        command("import_friends", str(tmp_path / "nowhere.jsonl"))


@pytest.fixture
def old_redis(valkey: Valkey, config: Config) -> Iterator["redis.Redis"]:
    """Keys of the old service under a prefix of the test's own, special characters and all."""
    with valkey.client() as client:
        yield client


def test_the_old_services_keys_are_read(
    command: Command,
    old_redis: "redis.Redis",
    config: Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prefix = f"old[*]?-{config.redis_prefix}"
    old_redis.set(f"{prefix}alice", '[{"_id": "bob", "email": "b@x"}, {"userId": "carol"}]')
    old_redis.set(f"{prefix}bob:{{x}}", "[]")
    old_redis.set(f"{prefix}dora", '{"_id": "bob"}')
    old_redis.set(f"{prefix}erin", '[{"email": "b@x"}]')
    old_redis.set(f"{prefix}".encode() + b"\xff", "[]")
    old_redis.rpush(f"{prefix}frank", "bob")
    old_redis.set(f"oldX-{config.redis_prefix}mallory", '[{"_id": "bob"}]')
    with pytest.raises(CommandError, match="4 could not be read and were skipped"):
        command("import_friends", "--from-redis", "--old-prefix", prefix)
    assert friends_of("alice", "bob:{x}", "mallory") == [["bob", "carol"], [], []]
    named = sorted(line.removeprefix(prefix) for line in capsys.readouterr().err.splitlines())
    assert [text.split(":")[0] for text in named] == ["dora", "erin", "frank", "\ufffd"]
    assert "Expected `array`, got `object`" in named[0]


def test_they_may_be_in_another_redis(command: Command, valkey: Valkey, config: Config) -> None:
    prefix = f"elsewhere-{config.redis_prefix}"
    url = f"redis://127.0.0.1:{valkey.port}/1"
    with redis.Redis.from_url(url) as elsewhere, valkey.client() as here:
        elsewhere.set(f"{prefix}alice", '[{"_id": "bob"}]')
        here.set(f"{prefix}carol", '[{"_id": "bob"}]')
    imported = command("import_friends", "--from-redis", url, "--old-prefix", prefix)
    assert imported == "1 lists imported.\n"
    assert friends_of("alice", "carol") == [["bob"], []]


def test_a_list_whose_old_key_is_gone_stays(
    command: Command, old_redis: "redis.Redis", config: Config
) -> None:
    options = ("--from-redis", "--old-prefix", f"gone-{config.redis_prefix}")
    old_redis.set(f"gone-{config.redis_prefix}alice", '[{"_id": "bob"}]')
    assert command("import_friends", *options) == "1 lists imported.\n"
    old_redis.delete(f"gone-{config.redis_prefix}alice")
    assert command("import_friends", *options) == "0 lists imported.\n"
    assert friends_of("alice") == [["bob"]]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "http://127.0.0.1:6379/0",
            "--from-redis: got .* expected a URL as redis://",
        ),
        ("redis://127.0.0.1:1/0", "Redis does not answer: .*127.0.0.1:1"),
    ],
)
def test_another_redis_that_is_none_is_named(command: Command, url: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        command("import_friends", "--from-redis", url)


def test_many_old_keys_are_read_in_pages(
    command: Command, old_redis: "redis.Redis", config: Config
) -> None:
    prefix = f"many-{config.redis_prefix}"
    old_redis.mset({f"{prefix}user-{n}": f'[{{"_id": "friend-{n}"}}]' for n in range(500)})
    command("import_friends", "--from-redis", "--old-prefix", prefix)
    assert friends_of(*(f"user-{n}" for n in range(500))) == [[f"friend-{n}"] for n in range(500)]


def test_without_redis_it_says_so(command: Command, file: Path, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    file.write_text(line("alice", "bob"))
    with pytest.raises(CommandError, match="Redis does not answer"):
        command("import_friends", str(file))
