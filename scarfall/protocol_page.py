"""What the page of the protocol shows, read off its AsyncAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

Schema = dict[str, Any]


class Field(NamedTuple):
    """One row. `name` is a path: `users[].userId` is in each of a list's objects."""

    name: str
    type: str
    #: Whether it may be left out.
    optional: bool
    #: Bounds, form and default, and what else is said of it.
    notes: SafeString


class Event(NamedTuple):
    name: str
    #: Of its place on the page.
    anchor: str
    meaning: SafeString
    #: Whether one has to authenticate first.
    guarded: bool
    fields: list[Field]
    reply: list[Field]
    #: What is said of the data, of the reply's data.
    about: SafeString
    about_reply: SafeString


class Gateway(NamedTuple):
    name: str
    host: str
    address: str
    description: SafeString
    credentials: SafeString
    requests: list[Event]
    pushes: list[Event]


def context(document: Schema) -> dict[str, Any]:
    """Raises KeyError where the document lacks what it refers to."""
    failure = document["components"]["schemas"]["Failure"]
    return {
        "info": document["info"],
        "paragraphs": map(prose, document["info"]["description"].split("\n\n")),
        "version": document["asyncapi"],
        "gateways": [_gateway(document, name) for name in document["channels"]],
        "failure": list(_fields(document, failure)),
        "failures": _all_prose(document["x-failures"]),
        "closes": _all_prose(document["x-close-codes"]),
    }


def prose(text: str) -> SafeString:
    """Escaped, and what is between backticks as code."""
    parts = enumerate(text.split("`"))
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", it) if n % 2 else it,) for n, it in parts)
    )


def _all_prose(texts: dict[str, str]) -> dict[str, SafeString]:
    return {name: prose(text) for name, text in texts.items()}


def _gateway(document: Schema, name: str) -> Gateway:
    server, channel = document["servers"][name], document["channels"][name]
    operations = {
        event.removeprefix(f"{name}."): operation
        for event, operation in document["operations"].items()
        if operation["channel"]["$ref"] == f"#/channels/{name}"
    }
    events = {
        action: [
            _event(document, name, event, operation)
            for event, operation in operations.items()
            if operation["action"] == action
        ]
        for action in ("receive", "send")
    }
    return Gateway(
        name=name,
        host=server["host"],
        address=channel["address"],
        description=prose(server["description"]),
        credentials=prose(_follow(document, server["security"][0])["description"]),
        requests=events["receive"],
        pushes=events["send"],
    )


def _event(document: Schema, gateway: str, name: str, operation: Schema) -> Event:
    data = _data(document, operation["messages"][0])
    reply: Schema = {}
    if "reply" in operation:
        # The other one is Failure, which all of them share.
        reply = _data(document, operation["reply"]["messages"][0])["oneOf"][0]
    data = _follow(document, _alternatives(data)[0])
    reply = _follow(document, reply)
    return Event(
        name=name,
        anchor=f"{gateway}-{name}",
        meaning=prose(operation["summary"]),
        guarded="security" in operation,
        fields=list(_fields(document, data)),
        reply=list(_fields(document, reply)),
        about=prose(data.get("description", "")),
        about_reply=prose(reply.get("description", "")),
    )


def _data(document: Schema, message: Schema) -> Schema:
    data: Schema = _follow(document, message)["payload"]["properties"]["data"]
    return data


def _fields(document: Schema, schema: Schema, path: str = "") -> Iterator[Field]:
    """Of an object, those of the objects in it after each."""
    for name, field in schema.get("properties", {}).items():
        optional = name not in schema.get("required", ())
        kinds = [_follow(document, kind) for kind in _alternatives(field)]
        inner = [_follow(document, kind.get("items", kind)) for kind in kinds]
        yield Field(
            name=path + name,
            type=" or ".join(map(_type, kinds, inner)),
            optional=optional,
            notes=prose("; ".join(_notes(field, kinds, inner))),
        )
        for kind, item in zip(kinds, inner, strict=True):
            below = f"{path}{name}[]." if kind.get("type") == "array" else f"{path}{name}."
            yield from _fields(document, item, below)


def _type(kind: Schema, item: Schema) -> str:
    if kind.get("type") == "array":
        return f"list of {item.get('type', 'any')}s"
    if "enum" in kind:
        return " or ".join(json.dumps(value) for value in kind["enum"])
    return str(kind.get("type", "any JSON"))


def _notes(field: Schema, kinds: list[Schema], inner: list[Schema]) -> Iterator[str]:
    for kind, item in zip(kinds, inner, strict=True):
        is_list = kind.get("type") == "array"
        if is_list:
            yield from _between(kind.get("minItems"), kind.get("maxItems"), "")
        each = " each" if is_list else ""
        # No least length is not worth a word.
        length = item.get("minLength") or None, item.get("maxLength")
        yield from _between(*length, f" characters{each}")
        if item.get("type") in ("integer", "number"):
            yield from _between(item.get("minimum"), item.get("maximum"), each)
        if item.get("format") == "date-time":
            yield "ISO 8601, UTC, milliseconds, Z"
        elif "pattern" in item:
            yield f"`{item['pattern']}`"
        if item.get("type") != "object" and "description" in item:
            yield item["description"].rstrip(".").lower()
    if "description" in field and field not in kinds:
        yield field["description"]
    if field.get("default") is not None:
        yield f"{json.dumps(field['default'])} if left out"


def _between(least: int | None, most: int | None, unit: str) -> Iterator[str]:
    if least is not None and most is not None:
        yield f"{least:,} to {most:,}{unit}"
    elif most is not None:
        yield f"at most {most:,}{unit}"
    elif least:
        yield f"at least {least:,}{unit}"


def _alternatives(schema: Schema) -> list[Schema]:
    alternatives: list[Schema] = schema.get("anyOf", [schema])
    return alternatives


def _follow(document: Schema, schema: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    at: Any = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        at = at[step]
    return _follow(document, at)
