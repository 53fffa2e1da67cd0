"""The protocol's page in a browser: legible, named, and never wider than the screen."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage, Size
from tests.browser.test_pages import FAINT, NAMELESS, TOO_WIDE
from tests.e2e.gateways import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def url(gateway: GatewayProcess) -> str:
    return f"http://127.0.0.1:{gateway.internal_port}/protocol/"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_the_protocol_looks_well(
    open_page: OpenPage, url: str, size: Size, scheme: str
) -> None:
    page = await open_page(url, size=size, scheme=scheme)
    assert await page.evaluate(FAINT) == []
    assert await page.evaluate(TOO_WIDE) == []
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 242, 238)", "dark": "rgb(17, 18, 20)"}[scheme]


async def test_everything_has_a_name(open_page: OpenPage, url: str) -> None:
    page = await open_page(url)
    assert await page.evaluate(NAMELESS) == []
    assert await page.locator("h1").count() == 1


async def test_the_contents_lead_to_an_event(open_page: OpenPage, url: str) -> None:
    page = await open_page(url)
    contents = page.get_by_role("navigation", name="Contents")
    await contents.get_by_role("link", name="disconnect_user").click()
    await expect(page.locator("#internal-disconnect_user")).to_be_in_viewport()
    article = page.get_by_role("article", name="disconnect_user")
    await expect(article.get_by_role("rowheader", name="reason optional")).to_be_visible()


async def test_without_scripts(open_page: OpenPage, url: str) -> None:
    page = await open_page(url)
    assert await page.locator("script").count() == 0
    await expect(page.get_by_role("heading", name="The user gateway")).to_be_visible()
