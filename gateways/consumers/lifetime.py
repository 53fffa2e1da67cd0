"""How long a socket may stay: so long until it has authenticated, so long with a session."""

import time
from typing import Protocol

from gateways.consumers.deadlines import Deadlines
from gateways.protocol.errors import CloseCode
from gateways.protocol.events import Payload, SessionExpired
from gateways.session import ServiceSession, Session


class Mortal(Protocol):
    """The socket, as what ends it knows it."""

    @property
    def session(self) -> Session | ServiceSession | None: ...

    @property
    def unavailable(self) -> bool:
        """Whether a request failed for want of the store, or of what else the gateway needs."""

    def push(self, event: str, payload: Payload) -> None: ...

    def end(self, code: int, reason: str) -> None: ...


class Lifetime:
    __slots__ = ("_authenticate_by", "_idle_seconds", "_socket", "deadlines")

    def __init__(self, socket: Mortal, *, auth_timeout_seconds: float) -> None:
        """From now on there is so long to authenticate."""
        self._socket = socket
        self._idle_seconds = 0.0
        self.deadlines = Deadlines()
        self._authenticate_by = time.monotonic()
        self.prolong_authentication(auth_timeout_seconds)

    def prolong_authentication(self, seconds: float) -> None:
        self._authenticate_by += seconds
        self.deadlines.set("auth", self._authenticate_by, self._authentication_overdue)

    def stop_waiting_for_authentication(self) -> None:
        self.deadlines.clear("auth")

    def limit_session(self, *, expiry_seconds: float, idle_seconds: float) -> None:
        """From now on it lasts so long at most, and so long without a request."""
        now = time.monotonic()
        self._idle_seconds = idle_seconds
        self.deadlines.set("expiry", now + expiry_seconds, self._session_expired)
        self.deadlines.set("idle", self._idle_at(), self._perhaps_idle)

    def expire(self, reason: str, code: CloseCode) -> None:
        self._socket.push("session_expired", SessionExpired(reason))
        self._socket.end(code, f"The session ended: {reason}.")

    def stop(self) -> None:
        self.deadlines.stop()

    def _authentication_overdue(self) -> None:
        if self._socket.unavailable:
            self._socket.end(CloseCode.UNAVAILABLE, "The gateway could not take the session.")
        else:
            self._socket.end(CloseCode.UNAUTHENTICATED, "Not authenticated in time.")

    def _session_expired(self) -> None:
        self.expire("expired", CloseCode.EXPIRED)

    def _idle_at(self) -> float:
        assert self._socket.session is not None
        return self._socket.session.active_at + self._idle_seconds

    def _perhaps_idle(self) -> None:
        """Requests move this moment only once it comes: each of them costs nothing for it."""
        if (due := self._idle_at()) <= time.monotonic():
            self.expire("idle", CloseCode.EXPIRED)
        else:
            self.deadlines.set("idle", due, self._perhaps_idle)
