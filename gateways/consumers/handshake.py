"""What a client may say before its first frame: its origin, the format it speaks, its token."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from gateways.protocol.plain import BEARER_PREFIX, SUBPROTOCOL


@dataclass(frozen=True, slots=True)
class Handshake:
    origin: str | None
    subprotocol: str | None
    token: str | None
    query_token: str | None

    @classmethod
    def of(cls, scope: dict[str, Any]) -> "Handshake":
        headers = {name.lower(): value for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        subprotocols = scope.get("subprotocols") or []
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return cls(
            origin=origin.decode("latin-1") if origin is not None else None,
            subprotocol=SUBPROTOCOL if SUBPROTOCOL in subprotocols else None,
            token=_bearer(headers.get(b"authorization", b""), subprotocols),
            query_token=next(iter(query.get("token", [])), None),
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
