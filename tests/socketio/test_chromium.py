"""The browser build of the stock client, in a real Chromium, on a page of another origin."""

import asyncio
import functools
import http.server
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.e2e.client import connect_as, token
from tests.e2e.conftest import Deploy, Name
from tests.socketio.clients import installed

PAGE = "<!doctype html><title>A game</title><script src=socket.io.min.js></script>"
SCRIPT = """
({url, options}) => {
  // Of this socket only: an earlier one may still try to connect.
  const happened = (window.happened = []);
  const socket = (window.socket = io(url, options));
  socket.onAny((event, ...data) => happened.push([event, ...data]));
  for (const event of ["connect", "disconnect"])
    socket.on(event, (reason) => happened.push([event, reason]));
  socket.on("connect_error", (error) => happened.push(["connect_error", error.message]));
}
"""
HAPPENED = "event => window.happened.find(([name]) => name === event)"


class Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """What the browser asks for is of no interest."""


@pytest.fixture
def page_origin(tmp_path: Path) -> Iterator[str]:
    """A web server with one page, that is not ours."""
    build = installed() / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"
    shutil.copy(build, tmp_path)
    (tmp_path / "index.html").write_text(PAGE)
    handler = functools.partial(Pages, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
async def page(page_origin: str) -> AsyncIterator[Page]:
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium, or CHROMIUM=/path/to/it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(page_origin)
        yield page
        await browser.close()


async def happened(page: Page, event: str) -> Any:
    return await (await page.wait_for_function(HAPPENED, arg=event)).json_value()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"withCredentials": True},
        {"transports": ["websocket"]},
        {"transports": ["polling"], "withCredentials": True},
    ],
    ids=["as it comes", "with credentials", "WebSocket only", "polling only"],
)
async def test_a_page_of_an_allowed_origin_plays(
    deploy: Deploy, page: Page, page_origin: str, name: Name, options: dict[str, Any]
) -> None:
    gateway = await asyncio.to_thread(deploy(CORS_ORIGIN=page_origin).start)
    auth = {"token": token(name("alice"))}
    url = f"http://127.0.0.1:{gateway.port}"
    await page.evaluate(SCRIPT, {"url": url, "options": {"auth": auth, **options}})
    assert (await happened(page, "connected"))[1]["user"]["userId"] == name("alice")
    async with connect_as(gateway.url, name("bob")) as bob:
        receipt = await page.evaluate(
            "data => socket.timeout(10000).emitWithAck('send_message', data)",
            {"recipientIds": [name("bob")], "message": "from a page"},
        )
        assert receipt["recipients"]["sent"] == [name("bob")]
        assert await bob.texts(1) == ["from a page"]
        await bob.message(name("alice"), "to a page")
    message = (await happened(page, "message"))[1]
    assert (message["message"], message["senderId"]) == ("to a page", name("bob"))
    transport = await page.evaluate("socket.io.engine.transport.name")
    assert transport == ("polling" if options.get("transports") == ["polling"] else "websocket")


async def test_a_page_of_another_origin_does_not(deploy: Deploy, page: Page) -> None:
    gateway = await asyncio.to_thread(deploy(CORS_ORIGIN="http://game.example").start)
    url = f"http://127.0.0.1:{gateway.port}"
    for transport in ("polling", "websocket"):
        options = {"transports": [transport], "forceNew": True}
        await page.evaluate(SCRIPT, {"url": url, "options": options})
        assert await happened(page, "connect_error")
