"""The internal gateway's own events; what it shares with the user gateway is in events.py."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType, structs

from gateways.protocol.events import (
    MAX_ID_LENGTH,
    MessageId,
    Payload,
    Request,
    UserId,
    check_json,
    check_printable,
)

MAX_KEY_LENGTH: Final = 256
#: Friends in one request; `add_friends` takes any number in steps.
MAX_FRIENDS: Final = 10_000
#: RFC 6455, section 5.5: a control frame holds 125 bytes, two of them the code.
MAX_CLOSE_REASON_BYTES: Final = 123
#: Users whose status one request may ask for.
MAX_STATUSES: Final = 1000

# --- requests -------------------------------------------------------------------------------------


class AuthenticateService(Request, frozen=True):
    service_name: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
    service_key: Annotated[str, Meta(max_length=MAX_KEY_LENGTH)]


class RegisterService(Request, frozen=True):
    """The registry's own rules say what its fields may be."""

    service_name: str
    service_key: str
    service_type: str
    description: str = ""
    metadata: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.metadata:
            check_json(self.metadata)


class SendServiceMessage(Request, frozen=True):
    """As `SendMessage`, but that spaces around an id are no part of it: so it always was."""

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
    reason: str | None = None

    def __post_init__(self) -> None:
        check_printable("userId", self.user_id)
        if self.reason and len(self.reason.encode()) > MAX_CLOSE_REASON_BYTES:
            raise ValueError(f"reason: expected at most {MAX_CLOSE_REASON_BYTES} bytes in UTF-8")


# --- replies --------------------------------------------------------------------------------------


class ServiceAuthenticated(Payload, frozen=True):
    """`idle_timeout` is in seconds, on the wire without a fraction where there is none."""

    service_name: str
    service_type: str
    socket_id: str
    connected_at: str
    description: str
    metadata: Mapping[str, Any]
    expires_at: str
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
    approval: str
    service: ServiceInfo
    message: str
    timestamp: str
    status: str = "success"


class PingedService(Payload, frozen=True):
    name: str
    type: str
    description: str
    metadata: Mapping[str, Any]


class ServicePong(Payload, frozen=True):
    """`service` is there once it authenticated."""

    timestamp: str
    service: PingedService | UnsetType = UNSET


class Services(Payload, frozen=True):
    services: list[ServiceInfo]
    timestamp: str
    status: str = "success"


class ServiceTypes(Payload, frozen=True):
    """`allowed_types` is empty where any type may be registered."""

    types: Sequence[str]
    allowed_types: Sequence[str]
    timestamp: str
    status: str = "success"


class FriendsChanged(Payload, frozen=True):
    user_id: str
    total: int
    timestamp: str
    status: str = "success"


class FriendList(Payload, frozen=True):
    user_id: str
    friend_ids: list[str]


class UserStatus(Payload, frozen=True):
    user_id: str
    status: str
    last_seen: str | None
    session_count: int


class UserStatuses(Payload, frozen=True):
    users: list[UserStatus]


class Disconnected(Payload, frozen=True):
    closed: int
    status: str = "success"


class Total(Payload, frozen=True):
    total: int


class BroadcastSent(Payload, frozen=True):
    recipients: Total
    status: str = "sent"
