"""What browsers are told about requests from other origins (Fetch, section 3.3 "CORS protocol")."""

from collections.abc import Collection
from typing import Any, Final

#: For what a stock client sends, and for the headers that its `extraHeaders` may name.
METHODS: Final = b"GET,POST,OPTIONS"
MAX_AGE_SECONDS: Final = b"86400"

Headers = list[tuple[bytes, bytes]]


def origin_of(scope: dict[str, Any]) -> str | None:
    origin = _header(scope, b"origin")
    return origin.decode("latin-1") if origin is not None else None


def allows(origins: Collection[str], origin: str) -> bool:
    return "*" in origins or origin in origins


def asks_before(scope: dict[str, Any]) -> bool:
    """Whether a browser asks what it may send, before it does (a preflight)."""
    return (
        scope["method"] == "OPTIONS"
        and _header(scope, b"origin") is not None
        and _header(scope, b"access-control-request-method") is not None
    )


def cors_headers(origin: str) -> Headers:
    """For an origin that is allowed. It is named even where all are: a client that sends cookies,
    as a balancer's, takes no `*`; and no cookie authenticates anybody here.
    """
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def preflight_headers(scope: dict[str, Any]) -> Headers:
    asked = _header(scope, b"access-control-request-headers")
    return [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", asked if asked is not None else b"content-type"),
        (b"access-control-max-age", MAX_AGE_SECONDS),
    ]


def _header(scope: dict[str, Any], name: bytes) -> bytes | None:
    return next((value for given, value in scope["headers"] if given.lower() == name), None)
