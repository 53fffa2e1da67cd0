"""The protocol's document is an AsyncAPI document: by AsyncAPI's own schema, and by what the
specification asks for beside it.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gateways.consumers.description import document
from tests import npm

DIRECTORY = Path(__file__).parent
SPECS = Path("node_modules", "@asyncapi", "specs", "schemas", "3.0.0-without-$id.json")
MADE = document(port=3000, internal_port=4000)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """AsyncAPI's, of version 3.0.0."""
    schema: dict[str, Any] = json.loads((npm.installed(DIRECTORY) / SPECS).read_bytes())
    return schema


def test_it_is_valid_by_the_schema_of_asyncapi(schema: dict[str, Any]) -> None:
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(MADE)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: it.pop("info"),
        lambda it: it.update(asyncapi="2.6.0"),
        lambda it: it.update(tags=[]),
        lambda it: it["servers"]["user"].pop("host"),
        lambda it: it["channels"]["internal"].update(adress="/ws"),
        lambda it: it["operations"]["user.ping"].update(action="ask"),
        lambda it: it["components"]["schemas"]["Pong"].update(type="thing"),
        lambda it: it["components"]["securitySchemes"]["token"].update(type="jwt"),
    ],
)
def test_the_schema_would_tell(schema: dict[str, Any], spoil: Callable[[Any], Any]) -> None:
    """Else the test above shows nothing."""
    spoilt = copy.deepcopy(MADE)
    spoil(spoilt)
    assert not jsonschema.Draft7Validator(schema).is_valid(spoilt)


def test_every_schema_is_one() -> None:
    """Of draft 7, of which AsyncAPI's are a superset."""
    for name, schema in MADE["components"]["schemas"].items():
        jsonschema.Draft7Validator.check_schema(schema)
        assert schema["title"] == name


def test_every_reference_leads_somewhere() -> None:
    references = set(_references(MADE))
    assert len(references) > 100
    for reference in references:
        _follow(reference)


def test_all_that_is_shared_is_referred_to() -> None:
    references = set(_references(MADE))
    for kind, shared in MADE["components"].items():
        assert {f"#/components/{kind}/{name}" for name in shared} <= references


@pytest.mark.parametrize("gateway", ["user", "internal"])
def test_every_message_of_a_channel_belongs_to_one_of_its_operations(gateway: str) -> None:
    """By the specification an operation's messages are among its own channel's."""
    channel = f"#/channels/{gateway}"
    belonging = []
    for name, operation in MADE["operations"].items():
        if name.startswith(f"{gateway}."):
            assert operation["channel"] == {"$ref": channel}
            belonging += operation["messages"] + operation.get("reply", {}).get("messages", [])
    messages = MADE["channels"][gateway]["messages"]
    assert sorted(it["$ref"] for it in belonging) == sorted(
        f"{channel}/messages/{name}" for name in messages
    )


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for item in part.values():
            yield from _references(item)
    elif isinstance(part, list):
        for item in part:
            yield from _references(item)


def _follow(reference: str) -> Any:
    at: Any = MADE
    for step in reference.removeprefix("#/").split("/"):
        at = at[step]
    return at
