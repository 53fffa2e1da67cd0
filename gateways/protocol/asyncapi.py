"""The protocol as an AsyncAPI 3.0 document, made from the Structs.

It is of the plain format, at `/ws`; Socket.IO carries the same events and data. The document speaks
as the gateway: it *receives* requests and *sends* pushes. Sources: the AsyncAPI specification,
version 3.0.0, and its ws bindings, version 0.1.0.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET

from gateways.protocol.catalogue import Push
from gateways.protocol.errors import CLOSES, GatewayError
from gateways.protocol.events import Failure, Payload, Request
from gateways.protocol.plain import BEARER_PREFIX, SUBPROTOCOL, Id

Schema = dict[str, Any]

VERSION: Final = "1.0.0"
DESCRIPTION: Final = """\
Players' clients speak to the user gateway, the platform's services to the internal one. Each frame
is one JSON object in a text frame: the event's name, its data, and of a request an id, by which the
client knows the reply. A request without an id is carried out all the same; its failure is pushed
as `error`. The fields that are listed are all the fields there are; unknown ones are refused.
A request for an event that is not listed is answered under its own name with the failure
`unknown_event`.

At `/socket.io/` the same events and data are spoken in Socket.IO's own format."""

_ID: Final = msgspec.json.schema(Id)
#: A null is none.
_ID_OR_NONE: Final = msgspec.json.schema(Id | None)

TOKEN: Final = "token"  # noqa: S105  # a name
KEY: Final = "key"
_SECURITY_SCHEMES: Final = {
    TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token: in the event `authenticate`, in an `Authorization: Bearer` header,"
        f" or as the second of the subprotocols `{SUBPROTOCOL}` and `{BEARER_PREFIX}<token>`.",
    },
    KEY: {
        "type": "userPassword",
        "description": "The service's name and key, in the event `authenticate_service`.",
    },
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its reply; `public`: served before authentication."""

    request: type[Request]
    reply: type[Payload]
    public: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class GatewayProtocol:
    """One gateway's events. `security` is TOKEN or KEY."""

    name: str
    description: str
    port: int
    security: str
    exchanges: Mapping[str, Exchange]
    pushes: Mapping[str, Push]


def document(gateways: Iterable[GatewayProtocol]) -> dict[str, Any]:
    """The document, as JSON has it."""
    gateways = list(gateways)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Scarfall real-time gateway",
            "version": VERSION,
            "description": DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "servers": {gateway.name: _server(gateway) for gateway in gateways},
        "channels": {gateway.name: _channel(gateway) for gateway in gateways},
        "operations": {
            f"{gateway.name}.{event}": operation
            for gateway in gateways
            for event, operation in _operations(gateway)
        },
        "components": {"schemas": _schemas(gateways), "securitySchemes": _SECURITY_SCHEMES},
        "x-failures": {
            kind.code: _one_line(kind.__doc__) for kind in GatewayError.__subclasses__()
        },
        "x-close-codes": {str(code): meaning for code, meaning in CLOSES.items()},
    }


def _server(gateway: GatewayProtocol) -> Schema:
    return {
        "host": f"localhost:{gateway.port}",
        "protocol": "ws",
        "description": gateway.description,
        "security": [{"$ref": f"#/components/securitySchemes/{gateway.security}"}],
    }


def _channel(gateway: GatewayProtocol) -> Schema:
    closes = "\n".join(f"- {code}: {meaning}" for code, meaning in CLOSES.items())
    handshake: Schema = {"method": "GET", "bindingVersion": "0.1.0"}
    if gateway.security == TOKEN:
        handshake["headers"] = {
            "type": "object",
            "properties": {
                "Authorization": {"type": "string", "pattern": "^Bearer "},
                "Sec-WebSocket-Protocol": {"type": "string"},
            },
        }
    return {
        "address": "/ws",
        "servers": [{"$ref": f"#/servers/{gateway.name}"}],
        "description": f"{gateway.description}\n\nThe gateway closes it with one of these:\n\n"
        f"{closes}",
        "messages": dict(_messages(gateway)),
        "bindings": {"ws": handshake},
    }


def _messages(gateway: GatewayProtocol) -> Iterator[tuple[str, Schema]]:
    for event, exchange in gateway.exchanges.items():
        frame = _frame(event, _data_of(exchange.request), "event", "data", id_=_ID_OR_NONE)
        if not _required(exchange.request):
            frame["required"].remove("data")
        yield event, _message(event, "request", exchange.meaning, frame)
        either = {"oneOf": [_ref(exchange.reply), _ref(Failure)]}
        frame = _frame(event, either, "event", "id", "data", id_=_ID)
        yield f"{event}.reply", _message(event, "reply", f"Answers `{event}`.", frame)
    for event, push in gateway.pushes.items():
        frame = _frame(event, _ref(push.struct), "event", "data")
        yield event, _message(event, "push", push.meaning, frame)


def _frame(event: str, data: Schema, *required: str, id_: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {
            "event": {"const": event},
            **({"id": id_} if id_ is not None else {}),
            "data": data,
        },
        "additionalProperties": False,
    }


def _message(event: str, kind: str, summary: str, frame: Schema) -> Schema:
    message = {"name": event, "title": f"{event}, {kind}", "summary": summary, "payload": frame}
    if "id" in frame["properties"]:
        message["correlationId"] = {"location": "$message.payload#/id"}
    return message


def _operations(gateway: GatewayProtocol) -> Iterator[tuple[str, Schema]]:
    channel = f"#/channels/{gateway.name}"
    for event, exchange in gateway.exchanges.items():
        operation = {
            "action": "receive",
            "channel": {"$ref": channel},
            "summary": exchange.meaning,
            "messages": [{"$ref": f"{channel}/messages/{event}"}],
            "reply": {
                "channel": {"$ref": channel},
                "messages": [{"$ref": f"{channel}/messages/{event}.reply"}],
            },
        }
        if not exchange.public:
            operation["security"] = [{"$ref": f"#/components/securitySchemes/{gateway.security}"}]
        yield event, operation
    for event, push in gateway.pushes.items():
        yield (
            event,
            {
                "action": "send",
                "channel": {"$ref": channel},
                "summary": push.meaning,
                "messages": [{"$ref": f"{channel}/messages/{event}"}],
            },
        )


# --- schemas --------------------------------------------------------------------------------------


def _schemas(gateways: Iterable[GatewayProtocol]) -> dict[str, Schema]:
    structs: dict[type, None] = {Failure: None}  # in order, each once
    for gateway in gateways:
        for exchange in gateway.exchanges.values():
            structs |= {exchange.request: None, exchange.reply: None}
        structs |= {push.struct: None for push in gateway.pushes.values()}
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    payloads = {kind.__name__: kind for kind in _descendants(Payload)}
    for name, schema in schemas.items():
        if "description" in schema:
            schema["description"] = _one_line(schema["description"])
        if name in payloads:
            _close(schema, payloads[name])
    return schemas


def _close(schema: Schema, struct: type[Payload]) -> None:
    """Make msgspec's schema, which is of what is decoded, one of what is said: a field with a
    default is there all the same, one that is UNSET is not, and none is passed over.
    """
    for field in schema["properties"].values():
        field.pop("default", None)
    schema["required"] = [
        field.encode_name for field in msgspec.structs.fields(struct) if field.default is not UNSET
    ]
    schema["additionalProperties"] = False


def _data_of(struct: type[Request]) -> Schema:
    """No data, and null, are the same as an empty object."""
    return _ref(struct) if _required(struct) else {"anyOf": [_ref(struct), {"type": "null"}]}


def _required(struct: type[Request]) -> bool:
    """Whether it has a field that may not be left out."""
    return any(field.required for field in msgspec.structs.fields(struct))


def _descendants(kind: type[Payload]) -> Iterator[type[Payload]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


def _ref(struct: type) -> Schema:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
