"""The protocol's document over HTTP: as a page and as JSON, on the internal port."""

from __future__ import annotations

import copy
import html
import json
import re
from typing import Any

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import override_settings

from gateways.consumers import description
from scarfall import protocol_page
from tests.django_client import GatewayClient

DOCUMENT = description.document(port=settings.PORT, internal_port=settings.INTERNAL_PORT)


async def page() -> str:
    answer = await GatewayClient("internal").get("/protocol/")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    return answer.content.decode()


async def test_the_document() -> None:
    answer = await GatewayClient("internal").get("/protocol/asyncapi.json")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert json.loads(answer.content) == DOCUMENT


async def test_the_ports_are_those_of_the_settings() -> None:
    with override_settings(PORT=3456, INTERNAL_PORT=4567):
        answer = await GatewayClient("internal").get("/protocol/asyncapi.json")
        servers = json.loads(answer.content)["servers"]
        assert servers["user"]["host"] == "localhost:3456"
        assert servers["internal"]["host"] == "localhost:4567"
        assert "ws://localhost:3456/ws" in await page()


@pytest.mark.parametrize("path", ["/protocol/", "/protocol", "/protocol/asyncapi.json"])
async def test_the_players_port_has_nothing_of_it(path: str) -> None:
    assert (await GatewayClient("user").get(path)).status_code == 404


async def test_without_its_slash_too() -> None:
    answer = await GatewayClient("internal").get("/protocol")
    assert (answer.status_code, answer["Location"]) == (302, "/protocol/")


@pytest.mark.parametrize("path", ["/protocol/", "/protocol/asyncapi.json"])
async def test_it_is_read_only(path: str) -> None:
    client = GatewayClient("internal", enforce_csrf_checks=True)
    assert (await client.post(path)).status_code == 405
    assert (await client.head(path)).status_code == 200


async def test_the_page_has_every_event_with_every_field() -> None:
    body = await page()
    anchors = re.findall(r'<h4 id="([^"]+)">', body)
    assert sorted(anchors) == sorted(it.replace(".", "-") for it in DOCUMENT["operations"])
    articles = dict(zip(anchors, body.split("<h4 id=")[1:], strict=True))
    schemas = DOCUMENT["components"]["schemas"]
    for name, operation in DOCUMENT["operations"].items():
        gateway, event = name.split(".")
        rows = re.findall(r'<th scope="row"><code>([^<]+)</code>', articles[f"{gateway}-{event}"])
        messages = DOCUMENT["channels"][gateway]["messages"]
        shown = [event] + ([f"{event}.reply"] if "reply" in operation else [])
        for message in shown:
            data = messages[message]["payload"]["properties"]["data"]
            (first, *_) = data.get("anyOf") or data.get("oneOf") or [data]
            for field in schemas[first["$ref"].rpartition("/")[2]]["properties"]:
                assert field in rows, (name, message)


async def test_the_page_has_nested_fields_bounds_and_codes() -> None:
    body = await page()
    for row in (
        "<code>users[].userId</code>",
        "<code>resume.seq</code>",
        "<code>nextCursor</code> <small>optional</small>",
        "<td>&quot;online&quot; or &quot;offline&quot;</td>",
        "<td>at least 1; 1 to 128 characters each; printable characters only</td>",
        "<td>1 to 1,000; 1000 if left out</td>",
    ):
        assert row in body
    text = html.unescape(re.sub("<[^>]+>", "", body))
    for code, meaning in {**DOCUMENT["x-failures"], **DOCUMENT["x-close-codes"]}.items():
        assert f"<code>{code}</code>" in body
        assert meaning.replace("`", "") in text


async def test_every_link_leads_somewhere() -> None:
    body = await page()
    ids = re.findall(r'id="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    links = re.findall(r'href="([^"]+)"', body)
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    client = GatewayClient("internal")
    for link in set(links):
        if not link.startswith("#"):
            path = link if link.startswith("/") else f"/protocol/{link}"
            assert (await client.get(path)).status_code == 200, path


@override_settings(ENABLE_EXAMPLES=False)
async def test_its_style_is_served_without_the_examples() -> None:
    answer = await GatewayClient("internal").get("/static/base.css")
    assert answer.status_code == 200
    assert b"--accent" in answer.content
    assert (
        await GatewayClient("internal").get("/static/examples/shared/times.js")
    ).status_code == 404
    assert (await GatewayClient("user").get("/static/base.css")).status_code == 404


async def test_the_page_may_do_nothing_but_show_itself() -> None:
    answer = await GatewayClient("internal").get("/protocol/")
    directives = dict(it.split(" ", 1) for it in answer["Content-Security-Policy"].split("; "))
    assert directives.pop("style-src") == directives.pop("img-src") == "'self'"
    assert set(directives.values()) == {"'none'"}
    assert {"default-src", "base-uri", "form-action", "frame-ancestors"} == set(directives)
    body = answer.content.decode()
    for inline in ("<script", "<style", "style=", "onclick", "http://", "https://"):
        assert inline not in body


def test_what_the_document_says_is_text() -> None:
    """Whoever writes a meaning or a description writes no markup."""
    hostile = "<script>alert(1)</script> `<b>` & \"'"
    rendered = render_to_string(
        "protocol/page.html", protocol_page.context(_with_texts(DOCUMENT, hostile))
    )
    assert "<script" not in rendered
    assert "<b>" not in rendered
    assert "&lt;script&gt;" in rendered
    assert "<code>&lt;b&gt;</code> &amp; &quot;&#x27;" in rendered


def _with_texts(part: Any, text: str) -> Any:
    """The document with another text for each that people read."""
    if isinstance(part, dict):
        return {
            name: text
            if name in ("summary", "description", "version") and isinstance(value, str)
            else dict.fromkeys(value, text)
            if name.startswith("x-")
            else _with_texts(value, text)
            for name, value in part.items()
        }
    if isinstance(part, list):
        return [_with_texts(item, text) for item in part]
    return copy.deepcopy(part)
