"""What the Structs and the consumers' tables do not say: what each event is for, and which Struct
is pushed under which name. docs/protocol.md is the long form; tests hold this to the tables, and
to what the code pushes.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from gateways.protocol.events import (
    AuthenticationError,
    Connected,
    Failure,
    MessageBody,
    Payload,
    ServerShutdown,
    SessionExpired,
    StatusUpdate,
    TokenExpiring,
)
from gateways.protocol.fields import TIMESTAMP, NotNegative
from gateways.protocol.internal_events import ServiceAuthenticated


@dataclass(frozen=True, slots=True)
class Push:
    struct: type[Payload]
    meaning: str


class PushedMessage(MessageBody, frozen=True):
    """`seq` counts the recipient's messages; a broadcast, which is stored nowhere, has none. Of a
    user's message `senderId` is the user, of a service's it is null.
    """

    # It is never made as a whole: the codecs splice what is the recipient's before the body that
    # all recipients share.
    recipient_id: str
    metadata: Annotated[
        dict[str, Any],
        Meta(
            description="The sender's own, and what only the server says; of a service's message"
            " also `metadata`, the service's own as it is configured.",
            extra_json_schema={
                "required": ["timestamp", "source"],
                "properties": {
                    "timestamp": {"type": "string", **TIMESTAMP},
                    "source": {"enum": ["user", "internal_service"]},
                    "serviceName": {"type": "string"},
                    "serviceType": {"type": "string"},
                },
            },
        ),
    ]
    seq: NotNegative | UnsetType = UNSET


_PUSHED_TO_ALL: Final = {
    "session_expired": Push(SessionExpired, "The session has ended; then the socket is closed."),
    "authentication_error": Push(
        AuthenticationError, "The credentials do not hold; then the socket is closed."
    ),
    "server_shutdown": Push(
        ServerShutdown, "The socket is closed with 1012 now; come back after that time."
    ),
    "error": Push(Failure, "A request without an id failed, or a frame was no request."),
}

PUSHED_TO_USERS: Final = {
    "connected": Push(
        Connected,
        "The session has begun, was extended, or goes on in a new epoch. `seq` is the user's newest"
        " message; `missed` messages of history follow before anything new.",
    ),
    "message": Push(PushedMessage, "A message to this user."),
    "user_status_update": Push(
        StatusUpdate, "Somebody on the user's friend list came online or went offline."
    ),
    "token_expiring": Push(TokenExpiring, "The token ends in 60 s: authenticate with a fresh one."),
    **_PUSHED_TO_ALL,
}

PUSHED_TO_SERVICES: Final = {
    "service_authenticated": Push(ServiceAuthenticated, "The session has begun, or begins anew."),
    **_PUSHED_TO_ALL,
}

ASKED_BY_USERS: Final = {
    "authenticate": "Begins the session, resumes one, or extends this one with a fresh token of the"
    " same user. The reply is the data of `connected`, which is pushed first. A failure is pushed"
    " as `authentication_error`, too, and closes the socket.",
    "ping": "Counts as activity.",
    "send_message": "To each recipient, online or not; the reply says what became of it at each. At"
    " most `MAX_RECIPIENTS` (1000) of them, and `MAX_MESSAGE_BYTES` (65536) with its metadata.",
    "get_online_users": "The user's friends who are online.",
    "get_online_friends_only": "The same as `get_online_users`.",
    "get_all_online_users": "Everybody who is online, a page of at most `limit` users at a time;"
    " `nextCursor` is there where there may be more.",
    "get_detailed_online_users": "The same, with `email` and `sessionCount` of whom the user may"
    " see.",
    "get_sessions": "The user's own sessions, this one among them.",
    "close_session": "Ends another of the user's own sessions, with 4403.",
}

ASKED_BY_SERVICES: Final = {
    "authenticate_service": "Begins the session, or begins its time anew. The reply is the data of"
    " `service_authenticated`, which is pushed first. A failure is pushed as"
    " `authentication_error`, too, and closes the socket.",
    "register_service": "A new service; where operators approve services, it waits for them.",
    "ping": "Counts as activity. `service` is there once it authenticated.",
    "send_message": "To each recipient, online or not; the reply says what became of it at each. At"
    " most `MAX_RECIPIENTS` (1000) of them, and `MAX_MESSAGE_BYTES` (65536) with its metadata.",
    "broadcast": "To everybody who is online now. It is stored nowhere; `total` is how many users"
    " were online.",
    "list_services": "All services that are approved.",
    "list_service_types": "The types in use, and those that may be registered: any where"
    " `allowedTypes` is empty.",
    "set_friends": "Replaces one user's whole friend list.",
    "add_friends": "Adds to one user's friend list; where `mutual`, also the user to theirs.",
    "remove_friends": "Takes off one user's friend list; where `mutual`, also the user off theirs.",
    "get_friends": "One user's friend list.",
    "get_user_status": "How things stand with these users; `lastSeen` is null where one was never"
    " seen.",
    "disconnect_user": "Ends a session of a user's, or all of them, with 4403, on every machine"
    " within a second. `reason` has at most 123 bytes.",
}
