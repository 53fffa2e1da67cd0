"""What a client may say before its first event: its origin, the format it speaks, its token."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from gateways.protocol.events import Resume
from gateways.protocol.plain import BEARER_PREFIX, SUBPROTOCOL
from gateways.protocol.socketio import Auth


@dataclass(frozen=True, slots=True)
class Handshake:
    origin: str | None
    subprotocol: str | None
    token: str | None
    query_token: str | None
    device_id: str | None = None
    resume: Resume | None = None
    #: The connection that a Socket.IO client would recover, and the offset that it got to.
    recovery_id: str | None = None
    offset: str | None = None

    @classmethod
    def of(cls, scope: dict[str, Any]) -> "Handshake":
        headers = {name.lower(): value for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        subprotocols = scope.get("subprotocols") or []
        auth: Auth = scope.get("auth") or Auth()
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return cls(
            origin=origin.decode("latin-1") if origin is not None else None,
            subprotocol=SUBPROTOCOL if SUBPROTOCOL in subprotocols else None,
            token=auth.token or _bearer(headers.get(b"authorization", b""), subprotocols),
            query_token=next(iter(query.get("token", [])), None),
            device_id=auth.device_id,
            resume=auth.resume,
            recovery_id=auth.pid,
            offset=auth.offset,
        )

    def origin_allowed(self, allowed: Collection[str]) -> bool:
        """Only browsers send an Origin (RFC 6454), and only they need to be held to it."""
        return self.origin is None or "*" in allowed or self.origin in allowed


def _bearer(authorization: bytes, subprotocols: list[str]) -> str | None:
    scheme, _, credentials = authorization.decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    for subprotocol in subprotocols:
        if subprotocol.startswith(BEARER_PREFIX):
            return subprotocol.removeprefix(BEARER_PREFIX)
    return None
