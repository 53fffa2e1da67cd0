"""One authenticated socket of a user, as the hub and the domain see it."""

import time
from dataclasses import dataclass, field
from typing import Any

from gateways.ordering import Numbered, Order
from gateways.outbound import Outbound
from gateways.protocol.codec import Codec
from gateways.protocol.events import Payload, now_ms


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token says its bearer is. `expires_at` is in seconds since the epoch."""

    user_id: str
    expires_at: float
    email: str | None = None
    device_info: Any = None
    scope: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Session:
    user_id: str
    session_id: str
    codec: Codec
    outbound: Outbound
    identity: Identity
    order: Order
    epoch: str = ""
    #: Monotonic seconds and wall-clock ms of the last request.
    active_at: float = field(default_factory=time.monotonic)
    active_ms: int = field(default_factory=now_ms)
    #: Whether `active_ms` is newer than what the store knows.
    touched: bool = False

    def touch(self) -> None:
        self.active_at = time.monotonic()
        self.active_ms = now_ms()
        self.touched = True

    def push(self, event: str, payload: Payload) -> None:
        self.outbound.write(self.codec.push(event, payload))

    def push_latest(self, event: str, key: str, payload: Payload) -> None:
        self.outbound.write_latest(key, self.codec.push(event, payload))

    def hand_over(self, messages: list[Numbered]) -> None:
        for seq, body in messages:
            self.outbound.write(self.codec.message(self.user_id, seq, body))

    def end(self, code: int, reason: str, event: str = "", payload: Payload | None = None) -> None:
        """Close the socket, after a last word where there is one."""
        if payload is not None:
            self.push(event, payload)
        self.outbound.close(code, reason)
