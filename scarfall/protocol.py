"""`/protocol/`: the protocol's document, as a page for people and as JSON for their tools.

It tells what docs/protocol.md tells, and nothing of this deployment but its ports: so, as
`/metrics`, whoever reaches the internal port may read it.
"""

from __future__ import annotations

import asyncio
from functools import cache

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from gateways.consumers import description
from scarfall import protocol_page

#: The page has no script, and nothing that could be sent.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


@csrf_exempt
@require_safe
async def page(_request: HttpRequest) -> HttpResponse:
    # Made once a process, and yet too long for the sockets of this loop to wait.
    body = await asyncio.to_thread(_page, settings.PORT, settings.INTERNAL_PORT)
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return HttpResponse(body, headers=headers)


@csrf_exempt
@require_safe
async def document(_request: HttpRequest) -> HttpResponse:
    body = await asyncio.to_thread(_json, settings.PORT, settings.INTERNAL_PORT)
    return HttpResponse(
        body, content_type="application/json", headers={"Cache-Control": "no-cache"}
    )


@cache
def _json(port: int, internal_port: int) -> bytes:
    document = description.document(port=port, internal_port=internal_port)
    return msgspec.json.format(msgspec.json.encode(document))


@cache
def _page(port: int, internal_port: int) -> str:
    document = description.document(port=port, internal_port=internal_port)
    return render_to_string("protocol/page.html", protocol_page.context(document))
