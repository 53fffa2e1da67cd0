"""The example clients' pages, there only where ENABLE_EXAMPLES or DEBUG says so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from scarfall.health import not_found

View = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]


def page(gateway: str) -> View:
    """The page of the gateway "user" or "internal"."""

    @csrf_exempt
    @require_safe
    async def view(request: HttpRequest) -> HttpResponse:
        if not settings.ENABLE_EXAMPLES:
            return not_found(request)
        body = render_to_string(f"examples/{gateway}.html")
        return HttpResponse(body, headers=_headers(request.get_host()))

    return view


def redirect(gateway: str) -> View:
    """From the port's root: whoever starts the service and looks at it sees something."""

    @csrf_exempt
    async def view(request: HttpRequest) -> HttpResponse:
        if not settings.ENABLE_EXAMPLES or request.method not in ("GET", "HEAD"):
            return not_found(request)
        return HttpResponseRedirect(f"/examples/{gateway}/")

    return view


def _headers(host: str) -> dict[str, str]:
    """Nothing but this port's own files and socket; text of the wire can't become script.

    By CSP 3 'self' matches the socket too, but not every browser followed (Safari only in 2022), so
    its origins are named. `host` is what get_host() let through: letters, digits, dots, dashes,
    brackets and a port, nothing that could end a directive.
    """
    policy = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        f"connect-src 'self' ws://{host} wss://{host}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return {"Content-Security-Policy": "; ".join(policy), "Cache-Control": "no-cache"}
