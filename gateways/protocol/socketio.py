"""The Socket.IO format: Socket.IO 5 packets inside Engine.IO messages, default namespace.

Rules are the Socket.IO protocol's, version 5 (socketio/socket.io, docs/socket.io-protocol). A frame
begins with Engine.IO's `4`, for "message", then comes the packet's own type. python-socketio's
packet classes build a tree of Python objects of each packet; here data stays as it came until its
Struct is known, and a stored message is spliced in (docs/architecture.md: what that saves).
"""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from gateways.protocol.checks import MAX_SAFE_INTEGER, check_printable
from gateways.protocol.codec import Inbound
from gateways.protocol.errors import InvalidFrame, InvalidPayload, UnknownEvent
from gateways.protocol.events import (
    MAX_ID_LENGTH,
    Failure,
    Payload,
    Request,
    Resume,
)

CONNECT: Final = "40"
DISCONNECT: Final = "41"
#: From a client: that of the default namespace, which may be named.
GOODBYES: Final = (DISCONNECT, DISCONNECT + "/,")
EVENT: Final = "42"
ACK: Final = "43"
BINARY_EVENT: Final = "45"
BINARY_ACK: Final = "46"

#: Beyond this many the packet is refused; none of our events takes any.
MAX_ATTACHMENTS: Final = 10
MAX_EVENT_LENGTH: Final = 64

#: The namespace, where it is not "/", and the acknowledgement's id, of an event's or ack's header.
_HEADER: Final = re.compile(r"(?:(/[^,]*),)?([0-9]{1,16})?", re.ASCII)
_NAMESPACE: Final = re.compile(r"(/[^,?]*)[^,]*,?|", re.ASCII)


class Auth(Request, frozen=True, forbid_unknown_fields=False):
    """What a client may say in its CONNECT packet. What else its `auth` holds is its own affair."""

    token: str | None = None
    device_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)] | None = None
    resume: Resume | None = None
    recovery: bool = False
    #: The stock client's own, where connection state recovery is on: which session it had, and the
    #: offset of the last message that it got.
    pid: Annotated[str, Meta(max_length=64)] | None = None
    offset: Annotated[str, Meta(max_length=128)] | None = None

    def __post_init__(self) -> None:
        if self.device_id:
            check_printable("deviceId", self.device_id)


@dataclass(frozen=True, slots=True)
class Connect:
    namespace: str
    auth: bytes


class _Event(Struct, frozen=True, array_like=True):
    event: Annotated[str, Meta(min_length=1, max_length=MAX_EVENT_LENGTH)]
    data: Raw = Raw(b"{}")
    more: Raw = Raw(b"")


_decode_event = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.Encoder().encode


class SocketIOCodec:
    max_invalid_frames = 1

    def __init__(self, *, recovery: bool = False) -> None:
        """`recovery`: each message comes with its offset as one more argument, by which the stock
        client recovers.
        """
        self.recovery = recovery

    def decode(self, frame: str) -> Inbound:
        start = frame.find("[")
        if start < 0:
            raise InvalidFrame("The packet has no payload.")
        binary = frame.startswith(BINARY_EVENT)
        request_id = None
        if start > 2:
            header = frame[2:start].partition("-")[2] if binary else frame[2:start]
            request_id = _request_id(header)
        try:
            event = _decode_event(frame[start:])
        except RecursionError:
            raise InvalidFrame("The packet is nested too deeply.") from None
        except (msgspec.DecodeError, UnicodeError) as error:
            return _unserved(frame[start:], request_id, str(error))
        data = bytes(event.data)
        refusal = None
        if binary:
            refusal = InvalidPayload("data: expected no binary attachments")
        elif event.more:
            refusal = InvalidPayload("data: expected one argument at most")
        return Inbound(event.event, request_id, b"{}" if data == b"null" else data, refusal)

    def greeting(self, socket_id: str, recovery_id: str | None) -> bytes:
        if recovery_id is None:
            return b"40" + _encode({"sid": socket_id})
        return b"40" + _encode({"sid": socket_id, "pid": recovery_id})

    def reply(self, event: str, request_id: int | str, payload: Payload) -> bytes:  # noqa: ARG002
        return b"43%b[%b]" % (str(request_id).encode(), _encode(payload))

    def push(self, event: str, payload: Payload) -> bytes:
        return b'42["%b",%b]' % (event.encode(), _encode(payload))

    def broadcast(self, recipient_id: str, body: bytes) -> bytes:
        return b'42["message",{"recipientId":%b,%b]' % (_encode(recipient_id), body[1:])

    def message(self, recipient: bytes, epoch: str, seq: int, body: bytes) -> bytes:
        if not self.recovery:
            return b'42["message",{"recipientId":%b,"seq":%d,%b]' % (recipient, seq, body[1:])
        return b'42["message",{"recipientId":%b,"seq":%d,%b,"%b:%d"]' % (
            recipient,
            seq,
            body[1:],
            epoch.encode(),
            seq,
        )


def _unserved(arguments: str, request_id: int | None, complaint: str) -> Inbound:
    """An event that can't be served and yet be answered: JavaScript's JSON may hold half an emoji,
    which is no text for anybody else, and a name may be too long for any event.

    Raises InvalidFrame where it is no event at all.
    """
    try:
        decoded = json.loads(arguments)
    except (RecursionError, ValueError):
        decoded = None
    if (
        not isinstance(decoded, list)
        or not decoded
        or not isinstance(decoded[0], str)
        or not decoded[0]
    ):
        raise InvalidFrame(f"The packet is no event: {complaint}")
    refusal = (
        UnknownEvent("No event of this gateway has a name as long as that.")
        if len(decoded[0]) > MAX_EVENT_LENGTH
        else InvalidPayload("data: expected valid JSON in UTF-8")
    )
    return Inbound(decoded[0], request_id, b"{}", refusal)


def connect(frame: str) -> Connect:
    """A CONNECT packet. Raises InvalidFrame."""
    namespace = _NAMESPACE.match(frame, 2)
    assert namespace is not None  # it matches nothing, too
    auth = frame[namespace.end() :] or "{}"
    try:
        is_object = isinstance(msgspec.json.decode(auth), dict)
    except (RecursionError, msgspec.DecodeError, UnicodeError):
        is_object = False
    if not is_object:
        raise InvalidFrame("The auth of a CONNECT packet is an object.")
    return Connect(namespace[1] or "/", auth.encode())


def connect_error(namespace: str, message: str, data: Failure | None = None) -> bytes:
    where = "" if namespace == "/" else f"{namespace},"
    error = {"message": message} if data is None else {"message": message, "data": data}
    return b"44%b%b" % (where.encode(), _encode(error))


def attachments(frame: str) -> int:
    """How many binary packets follow this one. Raises InvalidFrame where it does not say, or they
    are too many.
    """
    count, dash, _ = frame[2:12].partition("-")
    if not dash or not count.isascii() or not count.isdigit() or int(count) > MAX_ATTACHMENTS:
        raise InvalidFrame(f"A binary packet has at most {MAX_ATTACHMENTS} attachments.")
    return int(count)


def check_ack(frame: str) -> None:
    """An acknowledgement of ours that was never asked for: well-formed ones do no harm.

    Raises InvalidFrame.
    """
    start = frame.find("[")
    if start < 0:
        raise InvalidFrame("The packet has no payload.")
    try:
        msgspec.json.decode(frame[start:])
    except (RecursionError, msgspec.DecodeError, UnicodeError):
        raise InvalidFrame("The arguments of an acknowledgement are an array.") from None
    header = frame[2:start]
    _request_id(header.partition("-")[2] if frame.startswith(BINARY_ACK) else header)


def offset(given: str) -> tuple[str, int] | None:
    """The epoch and seq of a message's offset; None where it is none of ours."""
    epoch, _, seq = given.rpartition(":")
    if not epoch or not seq.isascii() or not seq.isdigit() or int(seq) > MAX_SAFE_INTEGER:
        return None
    return epoch, int(seq)


def _request_id(header: str) -> int | None:
    match = _HEADER.fullmatch(header)
    if match is None or match[1] not in (None, "/") or int(match[2] or 0) > MAX_SAFE_INTEGER:
        raise InvalidFrame("The packet has a malformed header.")
    return int(match[2]) if match[2] else None
