"""Nothing of the protocol lacks in its document, and the document says what the Structs say."""

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateways.consumers.description import document, gateways
from gateways.protocol import catalogue, events, internal_events
from gateways.protocol.asyncapi import GatewayProtocol
from gateways.protocol.errors import CLOSES, CloseCode, GatewayError
from gateways.protocol.events import Failure, MessageBody, Payload, Request
from services_registry.keys import MAX_KEY_LENGTH, MIN_KEY_LENGTH
from services_registry.models import NAME_PATTERN
from services_registry.rules import MAX_DESCRIPTION_LENGTH, MAX_TYPE_LENGTH

MADE = document(port=3000, internal_port=4000)
SCHEMAS = MADE["components"]["schemas"]
PROTOCOLS = {gateway.name: gateway for gateway in gateways(port=3000, internal_port=4000)}
#: They are what others begin with, and none of them is on the wire.
ROOTS = (Request, Payload, MessageBody)


def structs() -> Iterator[type[Request] | type[Payload]]:
    for module in (events, internal_events, catalogue):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Request | Payload) and kind not in ROOTS:
                yield kind


@pytest.mark.parametrize("struct", dict.fromkeys(structs()))
def test_every_struct_is_there_with_all_its_fields(struct: type[Request] | type[Payload]) -> None:
    schema = SCHEMAS[struct.__name__]
    fields = msgspec.structs.fields(struct)
    assert set(schema["properties"]) == {field.encode_name for field in fields}
    assert schema["additionalProperties"] is False
    if issubclass(struct, Request):
        required = {field.encode_name for field in fields if field.required}
    else:
        required = {it.encode_name for it in fields if it.default is not msgspec.UNSET}
    assert set(schema["required"]) == required


@pytest.mark.parametrize("gateway", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_every_request_its_reply_and_every_push_is_there(gateway: GatewayProtocol) -> None:
    messages = MADE["channels"][gateway.name]["messages"]
    replies = {f"{event}.reply" for event in gateway.exchanges}
    assert set(messages) == {*gateway.exchanges, *gateway.pushes} | replies
    for event, exchange in gateway.exchanges.items():
        request, reply = messages[event], messages[f"{event}.reply"]
        assert request["name"] == reply["name"] == event
        assert request["payload"]["properties"]["event"] == {"const": event}
        assert ref(exchange.request) in _flat(request["payload"]["properties"]["data"])
        assert reply["payload"]["required"] == ["event", "id", "data"]
        assert reply["payload"]["properties"]["data"] == {
            "oneOf": [ref(exchange.reply), ref(Failure)]
        }
        operation = MADE["operations"][f"{gateway.name}.{event}"]
        assert operation["action"] == "receive"
        assert ("security" in operation) == (not exchange.public)
    for event, push in gateway.pushes.items():
        frame = messages[event]["payload"]
        assert frame["required"] == ["event", "data"] == list(frame["properties"])
        assert frame["properties"]["data"] == ref(push.struct)
        assert MADE["operations"][f"{gateway.name}.{event}"]["action"] == "send"


def test_data_may_be_left_out_where_nothing_in_it_is_needed() -> None:
    messages = MADE["channels"]["user"]["messages"]
    for event, needed in (("ping", False), ("get_all_online_users", False), ("authenticate", True)):
        frame = messages[event]["payload"]
        assert ("data" in frame["required"]) == needed
        assert ({"type": "null"} in _flat(frame["properties"]["data"])) == (not needed)


def test_bounds_are_those_of_the_structs() -> None:
    recipients = SCHEMAS["SendMessage"]["properties"]["recipientIds"]
    assert recipients["minItems"] == 1
    assert recipients["items"]["maxLength"] == events.MAX_ID_LENGTH
    assert SCHEMAS["Page"]["properties"]["limit"]["maximum"] == 1000
    friends = SCHEMAS["FriendIds"]["properties"]["friendIds"]
    assert friends["maxItems"] == internal_events.MAX_FRIENDS


def test_a_registration_has_the_bounds_of_the_registry() -> None:
    fields = SCHEMAS["RegisterService"]["properties"]
    assert fields["serviceName"]["pattern"] == NAME_PATTERN.replace(r"\Z", "$")
    lengths = {name: (it.get("minLength"), it.get("maxLength")) for name, it in fields.items()}
    assert lengths["serviceKey"] == (MIN_KEY_LENGTH, MAX_KEY_LENGTH)
    assert lengths["serviceType"] == (1, MAX_TYPE_LENGTH)
    assert lengths["description"] == (0, MAX_DESCRIPTION_LENGTH)


def test_every_failure_and_every_close_has_a_meaning() -> None:
    codes = {kind.code for kind in GatewayError.__subclasses__()}
    assert set(MADE["x-failures"]) == codes
    assert set(SCHEMAS["Failure"]["properties"]["code"]["enum"]) == codes
    assert set(CLOSES) >= set(CloseCode)
    assert set(MADE["x-close-codes"]) == {str(code) for code in CLOSES}
    for meaning in (*MADE["x-failures"].values(), *CLOSES.values()):
        assert meaning.endswith(".")
    for gateway in PROTOCOLS:
        for code in CLOSES:
            assert f"- {code}: " in MADE["channels"][gateway]["description"]


def test_an_attempt_to_authenticate_fails_with_some_of_the_codes() -> None:
    codes, all_codes = (
        set(SCHEMAS[name]["properties"]["code"]["enum"])
        for name in ("AuthenticationError", "Failure")
    )
    assert codes < all_codes


def ref(struct: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}


def _flat(schema: dict[str, Any]) -> list[dict[str, Any]]:
    alternatives: list[dict[str, Any]] = schema.get("anyOf", [schema])
    return alternatives
