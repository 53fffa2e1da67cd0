"""Engine.IO 4 without its sockets: packets, payloads, and how it refuses.

Rules are the Engine.IO protocol's, version 4 (socketio/socket.io, docs/engine.io-protocol). A
packet is its type, one digit, and its data; a binary one travels bare in a WebSocket frame, and as
`b` and base64 in a payload.
"""

import base64
from dataclasses import dataclass
from typing import Final

import msgspec

OPEN: Final = "0"
CLOSE: Final = "1"
PING: Final = "2"
PONG: Final = "3"
MESSAGE: Final = "4"
UPGRADE: Final = "5"
NOOP: Final = "6"

PROBE: Final = PING + "probe"
PROBED: Final = b"3probe"
#: Between the packets of a payload (ASCII "record separator").
SEPARATOR: Final = "\x1e"

Packet = str | bytes


class InvalidPacket(Exception):
    """What came is no Engine.IO: its connection ends."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP request or handshake that is not taken, as Socket.IO's own server answers it."""

    code: int
    message: str
    status: int = 400

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"code": self.code, "message": self.message})


UNKNOWN_TRANSPORT: Final = Refusal(0, "Transport unknown")
UNKNOWN_SESSION: Final = Refusal(1, "Session ID unknown")
BAD_METHOD: Final = Refusal(2, "Bad handshake method")
BAD_REQUEST: Final = Refusal(3, "Bad request")
FORBIDDEN: Final = Refusal(4, "Forbidden", 403)
UNKNOWN_VERSION: Final = Refusal(5, "Unsupported protocol version")
TOO_LARGE: Final = Refusal(3, "Payload too large", 413)


def come_back(message: str) -> Refusal:
    """Not now. Stock clients try again by themselves, at their own pace."""
    return Refusal(3, message, 503)


def open_packet(
    sid: str,
    *,
    upgrades: list[str],
    ping_interval_ms: int,
    ping_timeout_ms: int,
    max_payload_bytes: int,
) -> bytes:
    return OPEN.encode() + msgspec.json.encode(
        {
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": ping_interval_ms,
            "pingTimeout": ping_timeout_ms,
            "maxPayload": max_payload_bytes,
        }
    )


def join(packets: list[bytes]) -> bytes:
    """The payload that holds these packets, all of them text."""
    return SEPARATOR.encode().join(packets)


def split(payload: bytes) -> list[Packet]:
    """The packets of a payload, binary ones as bytes. Raises InvalidPacket."""
    try:
        return [_packet(part) for part in payload.decode().split(SEPARATOR)]
    except ValueError as error:  # no UTF-8, no ASCII in base64, or no base64 at all
        raise InvalidPacket(str(error)) from None


def _packet(part: str) -> Packet:
    if part.startswith("b"):
        return base64.b64decode(part[1:], validate=True)
    if not part:
        raise InvalidPacket("a packet without a type")
    return part
