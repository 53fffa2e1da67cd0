"""Authenticated sockets, as the hub and the domain see them: a user's, a service's."""

import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateways.ordering import Order
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


@dataclass(slots=True, eq=False, kw_only=True)
class _Authenticated:
    session_id: str
    codec: Codec
    outbound: Outbound
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

    def end(self, code: int, reason: str) -> None:
        self.outbound.close(code, reason)


@dataclass(slots=True, eq=False, kw_only=True)
class Session(_Authenticated):
    user_id: str
    identity: Identity
    order: Order
    #: Registers the session again where the store lost it.
    put_back: Callable[[], Coroutine[Any, Any, None]]
    epoch: str = ""
    #: When it was opened, in ms, by the store's clock.
    opened_ms: int = 0
    #: How far it came otherwise than by nudges, which may still come, and when, in monotonic
    #: seconds.
    read_to: int = 0
    read_at: float = 0.0
    #: The store gave a seq a second time: its epoch is over.
    went_back: bool = False
    #: The user's id as JSON, as each message to it has it.
    _recipient: bytes = field(init=False)

    def __post_init__(self) -> None:
        self._recipient = msgspec.json.encode(self.user_id)

    def hand_over(self, seq: int, body: bytes) -> None:
        self.outbound.write(self.codec.message(self._recipient, self.epoch, seq, body))


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """Who a service is, as the registry has it. `key_hash` is of the key that it authenticated
    with.
    """

    name: str
    type: str
    description: str
    metadata: Mapping[str, Any]
    key_hash: str


@dataclass(slots=True, eq=False, kw_only=True)
class ServiceSession(_Authenticated):
    service: ServiceIdentity
    address: str
    connected_at_ms: int = field(default_factory=now_ms)
    #: The life of the store (`{nodes}:life`) that is known to have had the session; '' at first.
    life: str = ""
