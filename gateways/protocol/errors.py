"""What can go wrong on the wire, as two typed catalogues: failures and closes.

GatewayError                  answered with a failure; the socket stays open
├── InvalidFrame              invalid_frame
├── InvalidPayload            invalid_payload
├── UnknownEvent              unknown_event
├── Unauthenticated           unauthenticated
├── Forbidden                 forbidden
├── TooLarge                  too_large
├── TooManyRecipients         too_many_recipients
├── RateLimited               rate_limited, with retry_after_ms
├── Conflict                  conflict
├── Unavailable               unavailable, with retry_after_ms
└── InternalError             internal_error, with the ref of the trace in the log
AuthenticationFailed          pushed as authentication_error, then closed
"""

from enum import IntEnum
from typing import ClassVar, Final


class CloseCode(IntEnum):
    """Why the gateway closes a socket. 44xx: do not come back unchanged; 45xx, 10xx: come back."""

    NORMAL = 1000
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    PROTOCOL_ABUSE = 4400
    UNAUTHENTICATED = 4401
    REVOKED = 4403
    EXPIRED = 4408
    TOO_LARGE = 4413
    TOO_MANY_CONNECTIONS = 4429
    UNAVAILABLE = 4503
    SLOW_CONSUMER = 4508


#: What clients are told of each code, the server library's own ones too.
CLOSES: Final = {
    1000: "The client said goodbye.",
    1001: "The server goes away; come back.",
    1007: "Text that is not UTF-8 (RFC 6455, section 8.1); do not send it again.",
    1009: "A frame far over the limits; do not send it again.",
    1011: "The gateway failed; come back, and resume.",
    1012: "The server restarts; come back after the `retryAfterMs` of `server_shutdown`.",
    4400: "Protocol abuse; do not come back unchanged.",
    4401: "Not authenticated in time; a bad or expired token or key. Come back with a good one.",
    4403: "Ended from another session, by a service or an operator; or the service is shut out.",
    4408: "Idle, or the session reached its expiry; come back, and authenticate anew.",
    4413: "Too large; do not come back unchanged.",
    4429: "Too much, however often it was refused; do not come back unchanged.",
    4503: "What the gateway needs does not answer, or too many have come; come back, and resume.",
    4508: "The reader did not keep up; come back, and resume.",
}

#: Of these a client does not come back unchanged.
TERMINAL_CODES: Final = range(4400, 4500)


class GatewayError(Exception):
    """A request failed in a way that its sender is told of. `str(error)` is the human sentence; the
    docstring of each kind is what the protocol's document says of its code.
    """

    code: ClassVar[str]
    retry_after_ms: int | None = None
    ref: str | None = None
    #: Where the socket does not stay open after all.
    close_code: CloseCode | None = None


class InvalidFrame(GatewayError):
    """No request: not JSON, not an object, binary, too deep. The 10th in a row ends the socket."""

    code = "invalid_frame"


class InvalidPayload(GatewayError):
    """The data does not fit; `error` names the field and what was expected."""

    code = "invalid_payload"


class UnknownEvent(GatewayError):
    """No such event on this gateway."""

    code = "unknown_event"


class Unauthenticated(GatewayError):
    """Authenticate first."""

    code = "unauthenticated"


class Forbidden(GatewayError):
    """Authenticated, but not allowed."""

    code = "forbidden"


class TooLarge(GatewayError):
    """A message with its metadata is over `MAX_MESSAGE_BYTES`."""

    code = "too_large"


class TooManyRecipients(GatewayError):
    """Over `MAX_RECIPIENTS`."""

    code = "too_many_recipients"


class RateLimited(GatewayError):
    """Too much: nothing was done, try again after `retryAfterMs`."""

    code = "rate_limited"

    def __init__(
        self, sentence: str, *, retry_after_ms: int, close_code: CloseCode | None = None
    ) -> None:
        super().__init__(sentence)
        self.retry_after_ms = retry_after_ms
        self.close_code = close_code


class Conflict(GatewayError):
    """The state of things does not allow it: a name is taken, a limit reached."""

    code = "conflict"


class Unavailable(GatewayError):
    """The store, the services' database, or who publishes tokens' keys, does not answer: nothing
    was done, or the same `messageId` may be sent again, after `retryAfterMs`.
    """

    code = "unavailable"
    retry_after_ms = 1000


class InternalError(GatewayError):
    """A defect; `ref` names its trace in the log."""

    code = "internal_error"

    def __init__(self, ref: str) -> None:
        super().__init__("The gateway failed on this request. The reference names it in the log.")
        self.ref = ref


class AuthenticationFailed(Exception):
    """The credentials do not hold. `code` is a failure code, `close_code` ends the socket."""

    def __init__(
        self,
        sentence: str,
        *,
        code: str = Unauthenticated.code,
        close_code: CloseCode = CloseCode.UNAUTHENTICATED,
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.close_code = close_code
