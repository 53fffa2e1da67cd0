"""The internal gateway's own events; what it shares with the user gateway is in events.py."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType, structs

from gateways.protocol.checks import check_json, check_printable
from gateways.protocol.events import MAX_ID_LENGTH, MessageId, Payload, Request, UserId
from gateways.protocol.fields import Approval, NotNegative, Presence, Sent, Success, Timestamp

MAX_KEY_LENGTH: Final = 256
#: Friends in one request; `add_friends` takes any number in steps.
MAX_FRIENDS: Final = 10_000
#: RFC 6455, section 5.5: a control frame holds 125 bytes, two of them the code.
MAX_CLOSE_REASON_BYTES: Final = 123
#: Users whose status one request may ask for.
MAX_STATUSES: Final = 1000


def _told(most: int, *, least: int = 0) -> Meta:
    """A length that is checked elsewhere."""
    return Meta(extra_json_schema={"minLength": least, "maxLength": most})


# --- requests -------------------------------------------------------------------------------------


class AuthenticateService(Request, frozen=True):
    service_name: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
    service_key: Annotated[str, Meta(max_length=MAX_KEY_LENGTH)]


class RegisterService(Request, frozen=True):
    """`metadata` has at most 16,384 bytes as JSON, and 16 levels."""

    # The registry's own rules say what its fields may be: here they are only told to readers.
    service_name: Annotated[str, Meta(extra_json_schema={"pattern": "^[a-z0-9_-]{1,64}$"})]
    service_key: Annotated[str, _told(MAX_KEY_LENGTH, least=8)]
    service_type: Annotated[str, _told(64, least=1)]
    description: Annotated[str, _told(1000)] = ""
    metadata: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.metadata:
            check_json(self.metadata)


class SendServiceMessage(Request, frozen=True):
    """As `SendMessage`, but spaces around an id are no part of it: so it always was."""

    recipient_ids: Annotated[list[str], Meta(min_length=1)]
    message: str
    metadata: dict[str, Any] | None = None
    message_id: MessageId | None = None

    def __post_init__(self) -> None:
        trimmed = [recipient_id.strip() for recipient_id in self.recipient_ids]
        structs.force_setattr(self, "recipient_ids", trimmed)
        for index, recipient_id in enumerate(trimmed):
            if not 0 < len(recipient_id) <= MAX_ID_LENGTH:
                raise ValueError(f"recipientIds[{index}]: expected 1 to {MAX_ID_LENGTH} characters")
        check_printable("recipientIds", *trimmed)
        if self.message_id is not None:
            check_printable("messageId", self.message_id)
        if self.metadata:
            check_json(self.metadata)


class Broadcast(Request, frozen=True):
    message: str
    metadata: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.metadata:
            check_json(self.metadata)


class OneUser(Request, frozen=True):
    user_id: UserId

    def __post_init__(self) -> None:
        check_printable("userId", self.user_id)


class FriendIds(Request, frozen=True):
    user_id: UserId
    friend_ids: Annotated[list[UserId], Meta(max_length=MAX_FRIENDS)]

    def __post_init__(self) -> None:
        check_printable("userId", self.user_id)
        check_printable("friendIds", *self.friend_ids)


class MutualFriendIds(FriendIds, frozen=True):
    mutual: bool = True


class UserIds(Request, frozen=True):
    user_ids: Annotated[list[UserId], Meta(min_length=1, max_length=MAX_STATUSES)]

    def __post_init__(self) -> None:
        check_printable("userIds", *self.user_ids)


class DisconnectUser(OneUser, frozen=True):
    session_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)] | None = None
    #: In bytes; so many characters at most.
    reason: Annotated[str, _told(MAX_CLOSE_REASON_BYTES)] | None = None

    def __post_init__(self) -> None:
        check_printable("userId", self.user_id)
        if self.reason and len(self.reason.encode()) > MAX_CLOSE_REASON_BYTES:
            raise ValueError(f"reason: expected at most {MAX_CLOSE_REASON_BYTES} bytes in UTF-8")


# --- replies --------------------------------------------------------------------------------------


class ServiceAuthenticated(Payload, frozen=True):
    """`idleTimeout` is in seconds, on the wire without a fraction where there is none."""

    service_name: str
    service_type: str
    socket_id: str
    connected_at: Timestamp
    description: str
    metadata: Mapping[str, Any]
    expires_at: Timestamp
    idle_timeout: float

    def __post_init__(self) -> None:
        if float(self.idle_timeout).is_integer():
            structs.force_setattr(self, "idle_timeout", int(self.idle_timeout))


class ServiceInfo(Payload, frozen=True):
    name: str
    type: str
    description: str
    enabled: bool
    metadata: Mapping[str, Any]


class ServiceRegistered(Payload, frozen=True):
    approval: Approval
    service: ServiceInfo
    message: str
    timestamp: Timestamp
    status: Success = "success"


class PingedService(Payload, frozen=True):
    name: str
    type: str
    description: str
    metadata: Mapping[str, Any]


class ServicePong(Payload, frozen=True):
    """`service` is there once it authenticated."""

    timestamp: Timestamp
    service: PingedService | UnsetType = UNSET


class Services(Payload, frozen=True):
    services: list[ServiceInfo]
    timestamp: Timestamp
    status: Success = "success"


class ServiceTypes(Payload, frozen=True):
    """`allowedTypes` is empty where any type may be registered."""

    types: Sequence[str]
    allowed_types: Sequence[str]
    timestamp: Timestamp
    status: Success = "success"


class FriendsChanged(Payload, frozen=True):
    user_id: str
    total: NotNegative
    timestamp: Timestamp
    status: Success = "success"


class FriendList(Payload, frozen=True):
    user_id: str
    friend_ids: list[str]


class UserStatus(Payload, frozen=True):
    user_id: str
    status: Presence
    last_seen: Timestamp | None
    session_count: NotNegative


class UserStatuses(Payload, frozen=True):
    users: list[UserStatus]


class Disconnected(Payload, frozen=True):
    closed: NotNegative
    status: Success = "success"


class Total(Payload, frozen=True):
    total: NotNegative


class BroadcastSent(Payload, frozen=True):
    recipients: Total
    status: Sent = "sent"
