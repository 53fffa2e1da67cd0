"""What each kind of value takes and refuses, and what the refusal says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from scarfall import configuration_page, environment
from scarfall.values import CustomService
from scarfall.variable import BadVariable
from scarfall.variables import SECTIONS

VARIABLES = {variable.name: variable for rows in SECTIONS.values() for variable in rows}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("PORT", "65535", 65535),
        ("PORT", " 80 ", 80),
        ("PORT", "", 3000),
        ("DEBUG", "TRUE", True),
        ("DEBUG", "0", False),
        ("OFFLINE_GRACE", "0.5", 0.5),
        ("INBOX_TTL", "0", 0.0),
        ("JWT_EXPIRATION", "24h", timedelta(hours=24)),
        ("JWT_EXPIRATION", "30m", timedelta(minutes=30)),
        ("JWT_EXPIRATION", "7d", timedelta(days=7)),
        ("JWT_EXPIRATION", "3600", timedelta(hours=1)),
        ("LOG_LEVEL", "warn", "WARNING"),
        ("JWT_ALGORITHM", "es256", "ES256"),
        ("REDIS_URL", "unix:///run/valkey.sock?db=2", "unix:///run/valkey.sock?db=2"),
        ("REDIS_URL", "rediss://u:p@h:6380/1", "rediss://u:p@h:6380/1"),
        ("ALLOWED_SERVICE_TYPES", "game, chat,", ("game", "chat")),
        (
            "CORS_ORIGIN",
            "https://a.example, http://b.example:8080",
            ("https://a.example", "http://b.example:8080"),
        ),
        (
            "CUSTOM_SERVICES",
            "game:key-1:game:The game: itself,chat:key-2:chat",
            (
                CustomService("game", "key-1", "game", "The game: itself"),
                CustomService("chat", "key-2", "chat"),
            ),
        ),
    ],
)
def test_a_value_that_fits(name: str, given: str, value: Any) -> None:
    assert VARIABLES[name].read({name: given}) == value


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "80.5"),
        ("PORT", "1_000"),
        ("PORT", "٣٠٠٠"),
        ("PORT", "0x50"),
        ("DEBUG", "perhaps"),
        ("OFFLINE_GRACE", "0"),
        ("OFFLINE_GRACE", "-1"),
        ("OFFLINE_GRACE", "nan"),
        ("OFFLINE_GRACE", "inf"),
        ("INBOX_TTL", "-1"),
        ("JWT_EXPIRATION", "soon"),
        ("JWT_EXPIRATION", "0s"),
        ("LOG_LEVEL", "loud"),
        ("JWT_ALGORITHM", "none"),
        ("DETAILED_PRESENCE", "nobody"),
        ("REDIS_URL", "http://h"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://h:99999"),
        ("REDIS_PREFIX", "scar fall"),
        ("REDIS_PREFIX", "{x}"),
        ("DATABASE_URL", "mysql://h/n"),
        ("DATABASE_URL", "db.sqlite3"),
        ("CORS_ORIGIN", "play.example.org"),
        ("CORS_ORIGIN", "https://play.example.org/path"),
        ("JWT_PUBLIC_KEY", "not a key"),
        ("CUSTOM_SERVICES", "game"),
        ("CUSTOM_SERVICES", "game:key"),
        ("CUSTOM_SERVICES", "Game!:key:game"),
        ("CUSTOM_SERVICES", "game:key:game,game:key:game"),
    ],
)
def test_a_value_that_does_not_fit_is_named(name: str, given: str) -> None:
    with pytest.raises(BadVariable) as refusal:
        VARIABLES[name].read({name: given})
    message = str(refusal.value)
    assert message.startswith(f"{name}: ")
    assert f"; expected {VARIABLES[name].parser.expected}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("REDIS_URL", "canary://canary"),
        ("DATABASE_URL", "canary://canary"),
        ("CUSTOM_SERVICES", "game:canary"),
        ("CUSTOM_SERVICES", "CANARY:canary:game"),
    ],
)
def test_a_secret_is_never_shown(name: str, given: str) -> None:
    with pytest.raises(BadVariable) as refusal:
        VARIABLES[name].read({name: given})
    assert "canary" not in str(refusal.value).lower()


def test_a_malformed_service_is_named() -> None:
    with pytest.raises(BadVariable, match="entry 2, 'chat', does not fit"):
        VARIABLES["CUSTOM_SERVICES"].read({"CUSTOM_SERVICES": "game:k:game,chat:k"})


def test_a_services_key_is_not_in_its_repr() -> None:
    assert "canary" not in repr(CustomService("game", "canary", "game"))


def test_a_long_value_is_cut() -> None:
    with pytest.raises(BadVariable) as refusal:
        VARIABLES["PORT"].read({"PORT": "9" * 10_000})
    assert len(str(refusal.value)) < 300


def test_a_key_in_one_line_gets_its_line_ends() -> None:
    given = r"-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----"
    assert VARIABLES["JWT_PUBLIC_KEY"].read({"JWT_PUBLIC_KEY": given}).count("\n") == 3


def test_the_environment_goes_before_the_file(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "env"
    file.write_text("PORT=3001\nINTERNAL_PORT=4001\n")
    monkeypatch.setenv("ENV_FILE", str(file))
    monkeypatch.setenv("PORT", "3002")
    given = environment.read(environment.load())
    assert (given["PORT"], given["INTERNAL_PORT"]) == (3002, 4001)


def test_a_file_that_is_named_must_exist(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_FILE", str(tmp_path / "missing"))
    with pytest.raises(BadVariable, match="ENV_FILE: cannot read"):
        environment.load()


def test_every_default_fits() -> None:
    assert environment.read({}).keys() == VARIABLES.keys()


def test_the_documentation_is_up_to_date() -> None:
    page = configuration_page.PAGE.read_text("utf-8")
    assert page == configuration_page.renewed(page), (
        "renew it: .venv/bin/python -m scarfall.configuration_page"
    )
