"""The protocol's document, of both gateways, with the requests that the consumers' tables have."""

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from gateways.consumers.base import Handler
from gateways.consumers.internal import InternalConsumer
from gateways.consumers.user import UserConsumer
from gateways.protocol import asyncapi, catalogue
from gateways.protocol.asyncapi import Exchange, GatewayProtocol
from gateways.protocol.events import Payload


def document(*, port: int, internal_port: int) -> dict[str, Any]:
    """AsyncAPI 3.0, as JSON has it. `port`, `internal_port`: where the gateways listen."""
    return asyncapi.document(gateways(port=port, internal_port=internal_port))


def gateways(*, port: int, internal_port: int) -> tuple[GatewayProtocol, GatewayProtocol]:
    """The user gateway, then the internal one. Raises KeyError where an event of the tables has no
    meaning in the catalogue.
    """
    return (
        GatewayProtocol(
            name="user",
            description="For players' clients. A socket has 10 s (`AUTH_TIMEOUT`) to authenticate.",
            port=port,
            security=asyncapi.TOKEN,
            exchanges=_exchanges(UserConsumer.handlers, catalogue.ASKED_BY_USERS),
            pushes=catalogue.PUSHED_TO_USERS,
        ),
        GatewayProtocol(
            name="internal",
            description="For the platform's own services. A socket has 10 s (`AUTH_TIMEOUT`) to"
            " authenticate.",
            port=internal_port,
            security=asyncapi.KEY,
            exchanges=_exchanges(InternalConsumer.handlers, catalogue.ASKED_BY_SERVICES),
            pushes=catalogue.PUSHED_TO_SERVICES,
        ),
    )


def _exchanges(handlers: Mapping[str, Handler], meanings: Mapping[str, str]) -> dict[str, Exchange]:
    return {
        event: Exchange(handler.struct, reply_of(handler), handler.public, meanings[event])
        for event, handler in handlers.items()
    }


def reply_of(handler: Handler) -> type[Payload]:
    """What it replies with, as its annotation says, to which mypy holds it."""
    returned = get_type_hints(handler.serve)["return"]
    # A handler that is no coroutine function itself hands over what to await.
    (reply,) = get_args(returned) or (returned,)
    struct: type[Payload] = reply
    return struct
