"""What a client hears, and how it can fail.

CannotConnect             there is no gateway now, or none that answers
└── Refused               it answers, and would answer the same the next time
Disconnected              a request was not answered
RequestFailed             a request was answered with a failure
"""

from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from gateways.protocol.events import Connected, Failure, StatusUpdate


class CannotConnect(Exception):
    """The message is one line."""


class Refused(CannotConnect):
    pass


class Disconnected(Exception):
    """It may have been carried out or not."""


class RequestFailed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure

    @property
    def retry_after_seconds(self) -> float | None:
        """None where the same request would fail the same way."""
        after_ms = self.failure.retry_after_ms
        return after_ms / 1000 if isinstance(after_ms, int) else None


class Message(Struct, frozen=True, rename="camel"):
    """`seq` is None for a broadcast, which nobody can ask for again."""

    id: str
    sender_id: str | None
    message: str
    metadata: dict[str, Any]
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection is gone; the next attempt is so many seconds away."""

    reason: str
    retry_seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is gone for good."""

    reason: str


Event = Connected | Message | StatusUpdate | Failure | Dropped | Ended
