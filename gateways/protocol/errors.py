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


#: Of these a client does not come back unchanged.
TERMINAL_CODES: Final = range(4400, 4500)


class GatewayError(Exception):
    """A request failed in a way that its sender is told of. `str(error)` is the human sentence."""

    code: ClassVar[str]
    retry_after_ms: int | None = None
    ref: str | None = None
    #: Where the socket does not stay open after all.
    close_code: CloseCode | None = None


class InvalidFrame(GatewayError):
    code = "invalid_frame"


class InvalidPayload(GatewayError):
    code = "invalid_payload"


class UnknownEvent(GatewayError):
    code = "unknown_event"


class Unauthenticated(GatewayError):
    code = "unauthenticated"


class Forbidden(GatewayError):
    code = "forbidden"


class TooLarge(GatewayError):
    code = "too_large"


class TooManyRecipients(GatewayError):
    code = "too_many_recipients"


class RateLimited(GatewayError):
    code = "rate_limited"

    def __init__(
        self, sentence: str, *, retry_after_ms: int, close_code: CloseCode | None = None
    ) -> None:
        super().__init__(sentence)
        self.retry_after_ms = retry_after_ms
        self.close_code = close_code


class Conflict(GatewayError):
    code = "conflict"


class Unavailable(GatewayError):
    """Redis or the database did not answer: nothing was done, or the same messageId may be sent
    again.
    """

    code = "unavailable"
    retry_after_ms = 1000


class InternalError(GatewayError):
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
