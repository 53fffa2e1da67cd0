"""The plain WebSocket format: one JSON object a text frame."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from gateways.protocol.checks import MAX_SAFE_INTEGER
from gateways.protocol.codec import Inbound
from gateways.protocol.errors import InvalidFrame
from gateways.protocol.events import Payload

SUBPROTOCOL = "scarfall.v1"
#: The subprotocol that carries a token, since browsers let a page set no other header.
BEARER_PREFIX = "bearer."


#: By what a client tells its replies apart.
Id = (
    Annotated[int, Meta(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)]
    | Annotated[str, Meta(max_length=64)]
)


class _Request(Struct, frozen=True, forbid_unknown_fields=True):
    event: Annotated[str, Meta(min_length=1, max_length=64)]
    id: Id | None = None
    data: Raw = Raw(b"{}")


class _Reply(Struct, frozen=True):
    event: str
    id: int | str
    data: Any


class _Push(Struct, frozen=True):
    event: str
    data: Any


class PlainCodec:
    max_invalid_frames = 10
    recovery = False

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Request).decode
        self._encode = msgspec.json.Encoder().encode

    def decode(self, frame: str) -> Inbound:
        try:
            request = self._decode(frame)
        except RecursionError:
            raise InvalidFrame("The frame is nested too deeply.") from None
        except (msgspec.DecodeError, UnicodeError) as error:
            raise InvalidFrame(f"The frame is not a request: {error}") from None
        data = bytes(request.data)
        return Inbound(request.event, request.id, b"{}" if data == b"null" else data)

    def greeting(self, socket_id: str, recovery_id: str | None) -> bytes:  # noqa: ARG002
        return b""

    def reply(self, event: str, request_id: int | str, payload: Payload) -> bytes:
        return self._encode(_Reply(event, request_id, payload))

    def push(self, event: str, payload: Payload) -> bytes:
        return self._encode(_Push(event, payload))

    def broadcast(self, recipient_id: str, body: bytes) -> bytes:
        return b'{"event":"message","data":{"recipientId":%b,%b}' % (
            self._encode(recipient_id),
            body[1:],
        )

    def message(self, recipient: bytes, epoch: str, seq: int, body: bytes) -> bytes:  # noqa: ARG002
        return b'{"event":"message","data":{"recipientId":%b,"seq":%d,%b}' % (
            recipient,
            seq,
            body[1:],
        )
