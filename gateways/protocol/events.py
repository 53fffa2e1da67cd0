"""One Struct for each event's data. Field names are camelCase on the wire; docs/protocol.md is
their catalogue.
"""

import math
import time
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gateways.protocol.errors import GatewayError, InvalidPayload

T = TypeVar("T", bound="Request")

MAX_ID_LENGTH: Final = 128
MAX_MESSAGE_ID_LENGTH: Final = 64
MAX_METADATA_DEPTH: Final = 32
#: Looking at one costs 0.1 µs; without a bound a frame of brackets would hold everybody up.
MAX_METADATA_VALUES: Final = 10_000
#: JSON numbers beyond this lose digits in every JavaScript client (RFC 8259, section 6).
MAX_SAFE_INTEGER: Final = 2**53 - 1

UserId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
MessageId = Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_ID_LENGTH)]
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


def check_printable(name: str, *values: str) -> None:
    if not "".join(values).isprintable():
        raise ValueError(f"{name}: expected printable characters only")


def check_json(value: Any) -> None:
    """Refuse what some client could not read back: deep nesting, numbers beyond a double."""
    level, values = [value], 1
    for _ in range(MAX_METADATA_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, int):
                if abs(item) > MAX_SAFE_INTEGER:
                    raise ValueError("metadata: expected integers of at most 2**53 - 1")
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError("metadata: expected finite numbers")
        values += len(below)
        if values > MAX_METADATA_VALUES:
            raise ValueError(f"metadata: expected at most {MAX_METADATA_VALUES} values")
        if not below:
            return
        level = below
    raise ValueError(f"metadata: expected at most {MAX_METADATA_DEPTH} levels")


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
    code: str
    error: str
    timestamp: str
    retry_after_ms: int | UnsetType = UNSET
    ref: str | UnsetType = UNSET
    status: str = "error"

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
    timestamp: str


class ConnectedUser(Payload, frozen=True):
    user_id: str
    email: str | None
    socket_id: str


class Connected(Payload, frozen=True):
    user: ConnectedUser
    session_id: str
    epoch: str
    seq: int
    recovered: bool
    missed: int
    timestamp: str
    reason: str | UnsetType = UNSET


class AuthenticationError(Payload, frozen=True):
    code: str
    error: str


class MessageBody(Payload, frozen=True):
    """What is one message at all of its recipients; the inbox keeps it in this form, as JSON."""

    id: str
    sender_id: str | None
    message: str
    metadata: dict[str, Any]


class Recipients(Payload, frozen=True):
    total: int
    sent: list[str]
    queued: list[str]
    failed: list[str]


class Receipt(Payload, frozen=True):
    """What became of a message, for each recipient."""

    status: str
    message_id: str
    recipients: Recipients
    timestamp: str


class StatusUpdate(Payload, frozen=True):
    user_id: str
    status: str
    email: str | None
    last_seen: str | None


class OnlineFriend(Payload, frozen=True):
    user_id: str
    email: str | None
    status: str
    last_seen: str | None


class OnlineFriends(Payload, frozen=True):
    users: list[OnlineFriend]


class OnlineUser(Payload, frozen=True):
    user_id: str
    status: str
    last_seen: str | None


class OnlineUsers(Payload, frozen=True):
    users: list[OnlineUser]
    total: int
    next_cursor: str | UnsetType = UNSET


class DetailedUser(Payload, frozen=True):
    """`email` and `session_count` are there only for those who may see them."""

    user_id: str
    status: str
    last_seen: str | None
    email: str | UnsetType | None = UNSET
    session_count: int | UnsetType = UNSET


class DetailedUsers(Payload, frozen=True):
    users: list[DetailedUser]
    total: int
    timestamp: str
    next_cursor: str | UnsetType = UNSET


class SessionInfo(Payload, frozen=True):
    session_id: str
    device_id: str | None
    device_info: Any
    connected_at: str
    last_activity: str
    current: bool


class Sessions(Payload, frozen=True):
    sessions: list[SessionInfo]


class Done(Payload, frozen=True):
    timestamp: str
    status: str = "success"


class TokenExpiring(Payload, frozen=True):
    expires_at: str


class SessionExpired(Payload, frozen=True):
    reason: str


class ServerShutdown(Payload, frozen=True):
    retry_after_ms: int


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
