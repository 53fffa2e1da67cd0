"""Static files, straight from the installed packages and our own tree: nothing to collect first."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from whitenoise.base import WhiteNoise
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from scarfall.environment import BASE_DIR
from scarfall.health import not_found


@cache
def _files() -> WhiteNoiseMiddleware:
    # As a middleware, a synchronous one, it would turn every request over to a thread. The list of
    # files is made when the first one is asked for.
    return WhiteNoiseMiddleware()


@cache
def _examples(*, autorefresh: bool) -> WhiteNoise:
    # Asked for again each time, so that nobody runs new scripts with old ones; under DEBUG also
    # looked for again, since somebody may be editing them.
    return WhiteNoise(
        None,
        root=BASE_DIR / "gateways" / "static",
        prefix="static/",
        max_age=0,
        allow_all_origins=False,
        autorefresh=autorefresh,
    )


@require_safe
def serve(request: HttpRequest, **_path: str) -> HttpResponse:
    """Any file: the admin's."""
    return _answer(request, _files().files.get(request.path_info))


@csrf_exempt
@require_safe
async def serve_example(request: HttpRequest, **_path: str) -> HttpResponse:
    """A file of the example pages, while these are served. Players' port too: so not by a thread
    for each request. The files are few and small.
    """
    if not settings.ENABLE_EXAMPLES:
        return not_found(request)
    examples = _examples(autorefresh=settings.DEBUG)
    find = examples.find_file if settings.DEBUG else examples.files.get
    return _answer(request, find(request.path_info))


def _answer(request: HttpRequest, file: StaticFile | None) -> HttpResponse:
    if file is None:
        return not_found(request)
    answer = file.get_response(request.method, request.META)
    body = b""
    if answer.file is not None:
        with answer.file:
            body = answer.file.read()
    return HttpResponse(body, status=int(answer.status), headers=dict(answer.headers))
