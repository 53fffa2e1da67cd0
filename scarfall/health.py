"""What load balancers and orchestrators ask, and the JSON answers to what is not there.

No form is taken here, so a wrong method is told so instead of asked for its CSRF token.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe


@csrf_exempt
@require_safe
@never_cache
async def healthz(_request: ASGIRequest) -> JsonResponse:
    """The process serves. It asks nobody else: restarting it would not bring Redis back."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
@never_cache
async def readyz(request: ASGIRequest) -> JsonResponse:
    """Whether clients should be sent here now: 200, or 503 with the reason.

    scarfall/asgi.py puts into the scope: `readiness`, a coroutine function that returns the reason
    against, or None; `durability`, a function that returns what the store keeps, where it said so.
    """
    try:
        async with asyncio.timeout(settings.REDIS_TIMEOUT):
            reason = await request.scope["readiness"]()
    except TimeoutError:
        reason = f"no answer from the store within {settings.REDIS_TIMEOUT:g} s"
    durability = request.scope["durability"]()
    kept = {"durability": durability} if durability is not None else {}
    if reason is None:
        return JsonResponse({"status": "ready", **kept})
    return JsonResponse(
        {"status": "unavailable", "reason": reason, **kept}, status=HTTPStatus.SERVICE_UNAVAILABLE
    )


@csrf_exempt
def not_found(_request: HttpRequest, *_args: object, **_kwargs: object) -> JsonResponse:
    """Also the catch-all route: under DEBUG Django's own page would answer, not handler404."""
    return JsonResponse({"status": "error", "error": "Not found."}, status=HTTPStatus.NOT_FOUND)


def server_error(_request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        {"status": "error", "error": "Internal error."}, status=HTTPStatus.INTERNAL_SERVER_ERROR
    )
