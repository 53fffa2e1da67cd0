"""The example pages over HTTP: where they are served, and under which headers. How they behave in a
browser is in tests/browser.
"""

from __future__ import annotations

import pytest
from django.test import override_settings

from tests.django_client import GatewayClient

#: Of each port: its page, and one of the page's files.
PATHS = [
    ("user", "/"),
    ("user", "/examples/user"),
    ("user", "/examples/user/"),
    ("user", "/static/examples/user/main.js"),
    ("internal", "/"),
    ("internal", "/examples/internal"),
    ("internal", "/examples/internal/"),
    ("internal", "/static/examples/internal/main.js"),
]


@pytest.mark.parametrize(("gateway", "path"), PATHS)
async def test_served_only_where_that_is_asked_for(gateway: str, path: str) -> None:
    with override_settings(ENABLE_EXAMPLES=False):
        assert (await GatewayClient(gateway).get(path)).status_code == 404
    with override_settings(ENABLE_EXAMPLES=True):
        answer = await GatewayClient(gateway).get(path, follow=True)
        assert answer.status_code == 200


@pytest.mark.parametrize("gateway", ["user", "internal"])
@override_settings(ENABLE_EXAMPLES=True)
async def test_a_page_may_reach_its_own_port_only(gateway: str) -> None:
    answer = await GatewayClient(gateway).get(f"/examples/{gateway}/")
    directives = dict(
        directive.split(" ", 1) for directive in answer["Content-Security-Policy"].split("; ")
    )
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["connect-src"] == "'self' ws://testserver wss://testserver"
    body = answer.content.decode()
    assert "<script>" not in body
    assert "style=" not in body
    assert "http://" not in body
    assert "https://" not in body


@pytest.mark.parametrize(
    ("gateway", "path"),
    [("user", "/examples/internal/"), ("internal", "/examples/user/")],
)
@override_settings(ENABLE_EXAMPLES=True)
async def test_each_port_has_its_own_page_only(gateway: str, path: str) -> None:
    assert (await GatewayClient(gateway).get(path)).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/examples/../../../manage.py",
        "/static/examples/%2e%2e/%2e%2e/apps.py",
        "/static/examples/none.js",
        "/static/examples/",
    ],
)
@pytest.mark.parametrize("debug", [False, True])
async def test_nothing_else_is_served(path: str, debug: bool) -> None:
    with override_settings(ENABLE_EXAMPLES=True, DEBUG=debug):
        assert (await GatewayClient("user").get(path)).status_code == 404


@override_settings(ENABLE_EXAMPLES=True)
async def test_they_are_read_only() -> None:
    for path in ("/", "/examples/user/", "/static/examples/user/main.js"):
        answer = await GatewayClient("user", enforce_csrf_checks=True).post(path)
        assert answer.status_code in (404, 405), path
