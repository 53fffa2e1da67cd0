"""What each HTTP request brings into the log's lines."""

import asyncio
import re
from typing import Any

import pytest
from structlog.contextvars import get_contextvars

from scarfall import asgi


async def test_an_http_request_has_an_id_that_its_lines_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[Any, Any]] = []

    async def django(scope: Any, _receive: Any, _send: Any) -> None:
        before = get_contextvars().get("request")
        await asyncio.to_thread(lambda: seen.append((before, get_contextvars()["request"])))

    application: Any = asgi.internal_application
    monkeypatch.setattr(application, "_django", django)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    # A server has a task for each.
    await asyncio.gather(*[application(scope, None, None) for _ in range(2)])
    assert "request" not in get_contextvars()
    assert all(one == other for one, other in seen)
    assert len({request for request, _ in seen}) == 2
    assert all(re.fullmatch("[0-9a-f]{8}", request) for request, _ in seen)
