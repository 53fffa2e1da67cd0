"""One Struct for each event's data. Field names are camelCase on the wire; docs/protocol.md is
their catalogue.
"""

import time
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gateways.protocol.checks import MAX_SAFE_INTEGER, check_json, check_printable
from gateways.protocol.errors import GatewayError, InvalidPayload
from gateways.protocol.fields import (
    ErrorStatus,
    Expiry,
    FailureCode,
    Loss,
    NotNegative,
    Outcome,
    Presence,
    RefusalCode,
    Success,
    Timestamp,
)

T = TypeVar("T", bound="Request")

MAX_ID_LENGTH: Final = 128
MAX_MESSAGE_ID_LENGTH: Final = 64

PRINTABLE: Final = "Printable characters only."
UserId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH, description=PRINTABLE)]
MessageId = Annotated[
    str, Meta(min_length=1, max_length=MAX_MESSAGE_ID_LENGTH, description=PRINTABLE)
]
Count = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]


def now_ms() -> int:
    """Milliseconds since the epoch, by this machine's clock: for timestamps that people read."""
    return int(time.time() * 1000)


def timestamp(ms: int | None = None) -> str:
    """ISO 8601, UTC, milliseconds, `Z`."""
    return _timestamp(now_ms() if ms is None else ms)


# A busy process says the same millisecond many times; formatting one takes 1.3 µs.
@lru_cache(maxsize=256)
def _timestamp(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


class Request(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What a client asks for."""


class Payload(Struct, frozen=True, rename="camel"):
    """What the gateway says: a reply's or a push's data."""


# --- requests -------------------------------------------------------------------------------------


class Nothing(Request, frozen=True):
    """The data of an event that takes none."""


class Resume(Request, frozen=True):
    epoch: Annotated[str, Meta(max_length=64)]
    seq: Count


class Authenticate(Request, frozen=True):
    token: str
    device_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)] | None = None
    resume: Resume | None = None

    def __post_init__(self) -> None:
        if self.device_id:
            check_printable("deviceId", self.device_id)


class SendMessage(Request, frozen=True):
    recipient_ids: Annotated[list[UserId], Meta(min_length=1)]
    message: str
    metadata: dict[str, Any] | None = None
    message_id: MessageId | None = None

    def __post_init__(self) -> None:
        check_printable("recipientIds", *self.recipient_ids)
        if self.message_id is not None:
            check_printable("messageId", self.message_id)
        if self.metadata:
            check_json(self.metadata)


class Page(Request, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    cursor: Annotated[str, Meta(max_length=1024)] | None = None


class CloseSession(Request, frozen=True):
    session_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]


# --- replies and pushes ---------------------------------------------------------------------------


class Failure(Payload, frozen=True):
    code: FailureCode
    error: str
    timestamp: Timestamp
    retry_after_ms: NotNegative | UnsetType = UNSET
    ref: str | UnsetType = UNSET
    status: ErrorStatus = "error"

    @classmethod
    def of(cls, error: GatewayError) -> "Failure":
        return cls(
            code=error.code,
            error=str(error),
            timestamp=timestamp(),
            retry_after_ms=UNSET if error.retry_after_ms is None else error.retry_after_ms,
            ref=UNSET if error.ref is None else error.ref,
        )


class Pong(Payload, frozen=True):
    timestamp: Timestamp


class ConnectedUser(Payload, frozen=True):
    user_id: str
    email: str | None
    socket_id: str


class Connected(Payload, frozen=True):
    user: ConnectedUser
    session_id: str
    epoch: str
    seq: NotNegative
    recovered: bool
    missed: NotNegative
    timestamp: Timestamp
    reason: Loss | UnsetType = UNSET


class AuthenticationError(Payload, frozen=True):
    code: RefusalCode
    error: str


class MessageBody(Payload, frozen=True):
    """What is one message at all of its recipients; the inbox keeps it in this form, as JSON."""

    id: str
    sender_id: str | None
    message: str
    metadata: dict[str, Any]


class Recipients(Payload, frozen=True):
    total: NotNegative
    sent: list[str]
    queued: list[str]
    failed: list[str]


class Receipt(Payload, frozen=True):
    """What became of a message, for each recipient."""

    status: Outcome
    message_id: str
    recipients: Recipients
    timestamp: Timestamp


class StatusUpdate(Payload, frozen=True):
    user_id: str
    status: Presence
    email: str | None
    last_seen: Timestamp | None


class OnlineFriend(Payload, frozen=True):
    user_id: str
    email: str | None
    status: Presence
    last_seen: Timestamp | None


class OnlineFriends(Payload, frozen=True):
    users: list[OnlineFriend]


class OnlineUser(Payload, frozen=True):
    user_id: str
    status: Presence
    last_seen: Timestamp | None


class OnlineUsers(Payload, frozen=True):
    users: list[OnlineUser]
    total: NotNegative
    next_cursor: str | UnsetType = UNSET


class DetailedUser(Payload, frozen=True):
    """`email` and `sessionCount` are there only for those who may see them."""

    user_id: str
    status: Presence
    last_seen: Timestamp | None
    email: str | UnsetType | None = UNSET
    session_count: NotNegative | UnsetType = UNSET


class DetailedUsers(Payload, frozen=True):
    users: list[DetailedUser]
    total: NotNegative
    timestamp: Timestamp
    next_cursor: str | UnsetType = UNSET


class SessionInfo(Payload, frozen=True):
    session_id: str
    device_id: str | None
    device_info: Any
    connected_at: Timestamp
    last_activity: Timestamp
    current: bool


class Sessions(Payload, frozen=True):
    sessions: list[SessionInfo]


class Done(Payload, frozen=True):
    timestamp: Timestamp
    status: Success = "success"


class TokenExpiring(Payload, frozen=True):
    expires_at: Timestamp


class SessionExpired(Payload, frozen=True):
    reason: Expiry


class ServerShutdown(Payload, frozen=True):
    retry_after_ms: NotNegative


@cache
def _decoder(struct: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(struct)


def parse(data: bytes | msgspec.Raw, struct: type[T]) -> T:
    """An event's data as its Struct. Raises InvalidPayload, which names the field and what was
    expected.
    """
    try:
        decoder: msgspec.json.Decoder[T] = _decoder(struct)
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise InvalidPayload(_sentence(str(error))) from None
    except RecursionError:
        raise InvalidPayload("data: nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidPayload("data: expected valid JSON in UTF-8") from None


def _sentence(complaint: str) -> str:
    """The complaint "Expected `str`, got `int` - at `$.message`" with the field in front, as
    clients show it.
    """
    what, at, path = complaint.partition(" - at `$")
    if not at:
        return f"data: {what}" if what.startswith("Expected") else what
    return f"{path.rstrip('`').lstrip('.') or 'data'}: {what}"
