"""The health views, and who gets which URLs. The stand-in for a gateway answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.test import override_settings

Readiness = Callable[[], Awaitable[str | None]]


async def ready() -> str | None:
    return None


async def get(
    path: str, gateway: str, readiness: Readiness = ready, method: str = "GET"
) -> tuple[int, dict[bytes, bytes], bytes]:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "gateway": gateway,
        "readiness": readiness,
        "durability": lambda: "process",
    }
    requests = iter([{"type": "http.request", "body": b""}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        try:
            return next(requests)
        except StopIteration:
            await asyncio.Event().wait()
            raise

    async def send(event: Any) -> None:
        sent.append(event)

    application: Any = get_asgi_application()
    await application(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(e.get("body", b"") for e in sent)


@pytest.mark.parametrize("gateway", ["user", "internal"])
async def test_healthy_and_ready(gateway: str) -> None:
    for path, answer in (
        ("/healthz", {"status": "ok"}),
        ("/readyz", {"status": "ready", "durability": "process"}),
    ):
        code, headers, body = await get(path, gateway)
        assert (code, json.loads(body)) == (200, answer)
        assert b"no-store" in headers[b"Cache-Control"]


async def test_not_ready_says_why() -> None:
    async def no_store() -> str | None:
        return "the store does not answer"

    code, _, body = await get("/readyz", "user", no_store)
    assert code == 503
    assert json.loads(body) == {
        "status": "unavailable",
        "reason": "the store does not answer",
        "durability": "process",
    }
    assert (await get("/healthz", "user", no_store))[0] == 200


async def test_a_check_that_hangs_is_an_answer_too() -> None:
    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    with override_settings(REDIS_TIMEOUT=0.05):
        code, _, body = await get("/readyz", "user", hangs)
    assert code == 503
    assert "0.05 s" in json.loads(body)["reason"]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("gateway", "path"),
    [
        ("user", "/admin/"),
        ("user", "/static/unfold/css/styles.css"),
        ("user", "/nowhere"),
        ("internal", "/nowhere"),
        ("internal", "/static/nothing.css"),
        ("internal", "/static/../manage.py"),
    ],
)
async def test_what_is_not_there_is_said_in_json(gateway: str, path: str, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        code, _, body = await get(path, gateway)
    assert (code, json.loads(body)["status"]) == (404, "error")


async def test_static_files() -> None:
    code, headers, body = await get("/static/unfold/css/styles.css", "internal")
    assert (code, headers[b"Content-Type"]) == (200, b'text/css; charset="utf-8"')
    assert int(headers[b"Content-Length"]) == len(body) > 1000
    code, _, body = await get("/static/unfold/css/styles.css", "internal", method="HEAD")
    assert (code, body) == (200, b"")


async def test_health_is_only_read() -> None:
    assert (await get("/healthz", "user", method="POST"))[0] == 405
    assert (await get("/nowhere", "user", method="POST"))[0] == 404
