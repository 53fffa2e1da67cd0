import json
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from services_registry import rules
from services_registry.errors import InvalidService


def deep(levels: int) -> dict[str, Any]:
    return json.loads('{"a":' * levels + "1" + "}" * levels)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["a", "game-server_2", "0", "x" * 64])
def test_names_that_fit(name: str) -> None:
    rules.check_name(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "Game", "a b", "a\n", "\0", "ä", "a:b", "a/b", "\ud800"]
)
def test_names_that_do_not(name: str) -> None:
    with pytest.raises(InvalidService, match="serviceName"):
        rules.check_name(name)


def test_keys() -> None:
    rules.check_key("12345678")
    rules.check_key("ключ из букв")
    for key in ("1234567", "x" * 257, "1234567\0", "12345678\ud800"):
        with pytest.raises(InvalidService, match="serviceKey") as raised:
            rules.check_key(key)
        assert key not in str(raised.value)


def test_types(settings: Settings) -> None:
    settings.ALLOWED_SERVICE_TYPES = ()
    rules.check_type_is_allowed("anything at all")
    for bad in ("", "x" * 65, "a\n", "\0", "\ud800"):
        with pytest.raises(InvalidService, match="serviceType"):
            rules.check_type_is_allowed(bad)
    settings.ALLOWED_SERVICE_TYPES = ("game", "chat")
    rules.check_type_is_allowed("chat")
    rules.check_type("mail")
    with pytest.raises(InvalidService, match="expected one of game, chat"):
        rules.check_type_is_allowed("mail")


def test_descriptions() -> None:
    rules.check_description("of\nseveral lines " + "x" * 900)
    for bad in ("x" * 1001, "a\0b", "\udfff"):
        with pytest.raises(InvalidService, match="description"):
            rules.check_description(bad)


@pytest.mark.parametrize(
    "metadata",
    [{}, {"a": [1, 2.5, None, True, {"b": "ä"}]}, deep(16), {"a": "\\u0000"}, {"a": -(2**63)}],
)
def test_metadata_that_fits(metadata: Any) -> None:
    rules.check_metadata(metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        "text",
        None,
        {"a": "\0"},
        {"\0": 1},
        {"a": ["\ud800"]},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 10**5000},
        {"a": object()},
        {1: 2},
        deep(17),
        deep(900),
        {"a": "ä" * 8192},
    ],
)
def test_metadata_that_does_not(metadata: Any) -> None:
    with pytest.raises(InvalidService, match="metadata"):
        rules.check_metadata(metadata)
