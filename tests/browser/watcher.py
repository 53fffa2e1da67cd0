"""Nothing that a page complains of goes unheard."""

import re

from playwright.async_api import Page

from tests.e2e.client import eventually

#: Chromium tells the console of most violations; this tells it of every one.
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violation: ${event.effectiveDirective} ${event.blockedURI}`));
"""


class Watcher:
    """`complaints` holds console errors and warnings, violations of the policy, exceptions that
    nobody caught, and requests that went elsewhere than to the page's own port.
    """

    def __init__(self) -> None:
        self._heard: list[str] = []
        #: Patterns of what the test itself brings about.
        self.expected: list[str] = []

    @property
    def complaints(self) -> list[str]:
        return [text for text in self._heard if not self._is_expected(text)]

    async def hears(self, pattern: str) -> None:
        """A complaint that fits, sooner or later: the console is not in step with the page."""

        async def heard() -> bool:
            return any(re.search(pattern, text) for text in self._heard)

        await eventually(heard, pattern)

    async def watch(self, page: Page, url: str) -> None:
        host = url.split("/")[2]

        def check_host(asked: str) -> None:
            if asked.split("/")[2] != host:
                self._heard.append(f"request to another host: {asked}")

        page.on(
            "console",
            lambda message: (
                self._heard.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: self._heard.append(f"uncaught: {error}"))
        page.on("request", lambda request: check_host(request.url))
        page.on("websocket", lambda socket: check_host(socket.url))
        await page.add_init_script(REPORT_VIOLATIONS)

    def _is_expected(self, text: str) -> bool:
        return any(re.search(pattern, text) for pattern in self.expected)
