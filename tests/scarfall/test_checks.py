"""Each planted weakness is named, and a production environment has none."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from scarfall import checks
from tests.scarfall.conftest import Manage, Served
from tests.valkey import Valkey, running_valkey

PRODUCTION = {
    "JWT_SECRET": "c0ffee5f0a94d1c28b7e63f1d2a5987e",
    "SECRET_KEY": "b4d1deaf5f0a94d1c28b7e63f1d2a5987ec0ffee5f0a94d1c28b7e63f1d2a598",
    "CORS_ORIGIN": "https://play.example.org",
    "ALLOWED_HOSTS": "play.example.org",
    "ADMIN_HTTPS": "true",
}


def found(manage: Manage, **variables: str) -> list[str]:
    """The ids of what `check --deploy` says."""
    manage.environ.update({**PRODUCTION, **variables})
    code, out, err = manage.run("check", "--deploy")
    assert code == 0, err
    return re.findall(r"\(((?:scarfall|security|[a-z]+)\.[WE]\d+)\)", out + err)


def test_a_production_environment_is_clean(manage: Manage, valkey: Valkey) -> None:
    assert found(manage, REDIS_URL=valkey.url) == []


@pytest.mark.parametrize(
    ("ids", "variables"),
    [
        (["W001"], {"JWT_SECRET": "short"}),
        (["W001"], {"JWT_SECRET": "your-secret-key-of-more-than-32-bytes"}),
        (["W001"], {"JWT_SECRET": "ab" * 32}),
        (["W002"], {"SECRET_KEY": "changeme-" * 8}),
        (["W003"], {"CUSTOM_SERVICES": "herald:demo-key-that-is-long-enough:news"}),
        (["W003"], {"CUSTOM_SERVICES": "herald:a1b2c3d4:news"}),
        (["W005"], {"ENABLE_EXAMPLES": "true"}),
        (["W006"], {"CORS_ORIGIN": "*"}),
        (["W007"], {"RATE_LIMITS": "off"}),
        (["W008"], {"ALLOW_QUERY_TOKEN": "true"}),
        (["W009", "W010"], {"INTERNAL_HOST": "0.0.0.0"}),
        (["W009"], {"INTERNAL_HOST": "8.8.8.8", "REQUIRE_SERVICE_APPROVAL": "true"}),
    ],
)
def test_each_weakness_is_named(manage: Manage, ids: list[str], variables: dict[str, str]) -> None:
    named = [name for name in found(manage, **variables) if name.startswith(checks.TAG)]
    assert named == [f"{checks.TAG}.{name}" for name in ids]


def test_what_is_as_it_should_be_is_silenced(manage: Manage) -> None:
    silenced = "scarfall.W009, scarfall.W010"
    assert found(manage, INTERNAL_HOST="0.0.0.0", SILENCED_CHECKS=silenced) == []


def test_debug_is_named(manage: Manage) -> None:
    assert "scarfall.W004" in found(manage, DEBUG="true")


def test_djangos_own_are_there_too(manage: Manage) -> None:
    assert found(manage, ADMIN_HTTPS="false") == ["security.W012", "security.W016"]


def test_a_store_that_throws_away_is_named(manage: Manage) -> None:
    with running_valkey() as valkey:
        with valkey.client() as redis:
            redis.config_set("maxmemory-policy", "allkeys-lru")
        assert found(manage, REDIS_URL=valkey.url) == ["scarfall.W012"]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://redis.example.org:1/0", True),
        ("redis://:password@redis.example.org:1/0", False),
        ("redis://203.0.113.7:1/0", False),  # for documentation, and so nobody's
        ("redis://8.8.8.8:1/0", True),
        ("redis://10.0.0.7:1/0", False),
        ("redis://valkey:1/0", False),
        ("redis://localhost:1/0", False),
        ("redis://[::1]:1/0", False),
        ("unix:///tmp/valkey.sock", False),
    ],
)
def test_a_store_without_a_password_is_named_where_others_reach_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str, named: bool
) -> None:
    monkeypatch.setattr(checks, "_eviction_policy", lambda: None)
    settings.REDIS_EMBEDDED = False
    settings.REDIS_URL = url
    assert [each.id for each in checks.check_store()] == ["scarfall.W011"] * named


def test_a_store_that_is_away_is_not_waited_for(manage: Manage) -> None:
    assert found(manage, REDIS_URL="redis://127.0.0.1:1/0") == []


def test_serve_prints_them(manage: Manage, serve: Callable[[], Served]) -> None:
    manage.environ.update(PRODUCTION)
    _, out, _ = serve().stop()
    assert "Warning" not in out
    manage.environ["CORS_ORIGIN"] = "*"
    _, out, _ = serve().stop()
    assert re.search(r"^Warning +Pages of any origin .*\(scarfall\.W006\)$", out, re.MULTILINE)
