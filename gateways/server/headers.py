"""The headers that tell browsers what a response is not for. Every HTTP response of a port has
them, whoever made it: the application, uvicorn, or the parser that refused a request.

What the application says itself about the same goes before.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Headers = list[tuple[bytes, bytes]]

POLICY: Final = b"content-security-policy"
#: For what no browser shows: JSON, files, refusals.
NO_PAGE: Final = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#: For pages, which are made of this port's own files; `data:` are the style sheets' icons.
PAGE: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    b" font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self';"
    b" frame-ancestors 'none'"
)
#: None of what a page may ask its user for is asked for here.
PERMISSIONS: Final = (
    b"accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(),"
    b" magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(),"
    b" screen-wake-lock=(), usb=()"
)
COMMON: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    # For browsers that do not know frame-ancestors.
    (b"x-frame-options", b"DENY"),
    # Not "no-referrer": forms would then name no origin, which the admin checks.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    # Concerns what a page of elsewhere embeds. What it asks for by CORS, as Socket.IO's clients do,
    # is allowed by that alone (Fetch, section 3.7).
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", PERMISSIONS),
]
#: A year. A browser holds it against every port of the host, but no other name of the domain's.
TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")


def missing(given: Iterable[tuple[bytes, bytes]], *, secure: bool) -> Headers:
    """What a response with these headers lacks; `secure`: it goes over https.

    Over http a browser must not be told to come by https only, nor would it believe it (RFC 6797,
    section 7.2).
    """
    present = {name.lower(): value for name, value in given}
    page = present.get(b"content-type", b"").startswith(b"text/html")
    wanted = [(POLICY, PAGE if page else NO_PAGE), *COMMON, *([TRANSPORT] if secure else ())]
    return [header for header in wanted if header[0] not in present]


def is_secure(scope: Mapping[str, Any]) -> bool:
    """Whether the client speaks https, to us or to a proxy that is believed."""
    return scope.get("scheme") in ("https", "wss")


def refusal(status: int, text: str, given: Headers, *, secure: bool) -> bytes:
    """The answer to a request that is not read to its end; `given`: what else it says."""
    headers = [
        *given,
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(text)),
        (b"connection", b"close"),
    ]
    headers += missing(headers, secure=secure)
    lines = [b"%s: %s\r\n" % header for header in headers]
    return STATUS_LINE[status] + b"".join(lines) + b"\r\n" + text.encode("ascii")
