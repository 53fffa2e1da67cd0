"""The admin's static files, straight from the installed packages: nothing to collect first."""

from __future__ import annotations

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from whitenoise.middleware import WhiteNoiseMiddleware

from scarfall.health import not_found


@cache
def _files() -> WhiteNoiseMiddleware:
    # As a middleware, a synchronous one, it would turn every request over to a thread. The list of
    # files is made when the first one is asked for.
    return WhiteNoiseMiddleware()


@require_safe
def serve(request: HttpRequest, **_path: str) -> HttpResponse:
    file = _files().files.get(request.path_info)
    if file is None:
        return not_found(request)
    answer = file.get_response(request.method, request.META)
    body = b""
    if answer.file is not None:
        with answer.file:
            body = answer.file.read()
    return HttpResponse(body, status=int(answer.status), headers=dict(answer.headers))
