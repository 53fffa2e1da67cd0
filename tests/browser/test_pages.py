"""What holds for both pages: their policy, their labels, their looks."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, Name, OpenPage, OpenPlayer, OpenService, Size
from tests.browser.watcher import Watcher
from tests.e2e.gateways import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

INJECT = """
() => {
  const script = document.createElement("script");
  try { script.textContent = "window.injected = 1"; } catch (error) { return String(error); }
  document.body.append(script);
}
"""
#: Fields without a label, buttons without a name, references to what is not there.
NAMELESS = """
() => {
  const fields = [...document.querySelectorAll("input, textarea, select")];
  const buttons = [...document.querySelectorAll("button, summary, a")];
  const regions = [...document.querySelectorAll("section, nav, [role=log], ol[tabindex]")];
  const references = ["for", "aria-labelledby", "aria-describedby", "list"].flatMap((name) =>
    [...document.querySelectorAll(`[${name}]`)].flatMap((element) =>
      element.getAttribute(name).split(" ").filter((id) => !document.getElementById(id))));
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  const twice = ids.filter((id, index) => ids.indexOf(id) < index);
  return [
    ...fields.filter((field) => !field.labels?.length && !field.ariaLabel),
    ...buttons.filter((button) => !button.textContent.trim() && !button.ariaLabel),
    ...regions.filter((region) => !region.ariaLabel && !region.getAttribute("aria-labelledby")),
  ].map((element) => element.outerHTML).concat(references, twice);
}
"""
#: Texts whose contrast with what they lie on is below WCAG 2.2's 4.5 to 1 (1.4.3).
FAINT = """
() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const rgba = (colour) => {
    const [r, g, b, a = 1] = numbers(colour);
    return colour.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const light = (colour) => rgba(colour).slice(0, 3)
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgba(colour)[3] > 0.99) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest(":disabled")) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.outerHTML}`);
  }
  return faint;
}
"""
#: What one would have to scroll sideways for: the page, a panel.
TOO_WIDE = """
() => [document.documentElement, ...document.querySelectorAll(".panel")]
  .filter((box) => box.scrollWidth > box.clientWidth)
  .flatMap((box) => [box, ...[...box.querySelectorAll("*")].filter((element) =>
    element.checkVisibility() &&
    element.getBoundingClientRect().right > box.getBoundingClientRect().left + box.clientWidth)])
  .map((element) => element.outerHTML.slice(0, 200))
"""


@pytest.fixture(params=["user", "internal"])
def url(request: pytest.FixtureRequest, gateway: GatewayProcess) -> str:
    port = gateway.port if request.param == "user" else gateway.internal_port
    return f"http://127.0.0.1:{port}/examples/{request.param}/"


async def test_the_port_leads_to_its_page(gateway: GatewayProcess, open_page: OpenPage) -> None:
    for port, path in ((gateway.port, "user"), (gateway.internal_port, "internal")):
        page = await open_page(f"http://127.0.0.1:{port}/")
        await expect(page).to_have_url(f"http://127.0.0.1:{port}/examples/{path}/")


async def test_an_injected_script_does_not_run(
    open_page: OpenPage, watcher: Watcher, url: str
) -> None:
    watcher.expected += ["policy violation", "Content Security Policy", "TrustedScript"]
    page = await open_page(url)
    refusal = await page.evaluate(INJECT)
    if "TrustedScript" not in str(refusal):
        await watcher.hears("policy violation: script-src-elem")
    assert await page.evaluate("window.injected") is None
    # Other hosts are out of reach too.
    await page.evaluate("() => fetch('http://127.0.0.1:9/').catch(() => null)")
    await watcher.hears("policy violation: connect-src")


async def test_everything_has_a_name(open_page: OpenPage, url: str) -> None:
    page = await open_page(url)
    assert await page.evaluate(NAMELESS) == []
    assert await page.locator("h1").count() == 1
    assert await page.locator("html[lang]").count() == 1


async def test_the_focus_is_always_seen(open_page: OpenPage, url: str) -> None:
    """Through the whole page, with the tabulator alone."""
    page = await open_page(url)
    seen = []
    for _ in range(40):
        outlines = await page.evaluate(
            """() => {
              const shown = (element) => getComputedStyle(element).outlineStyle !== "none";
              const focused = document.activeElement;
              return [focused.id || focused.tagName, shown(focused) || [".ids", ".segments label"]
                .map((box) => focused.closest(box)).some((box) => box && shown(box))];
            }"""
        )
        seen.append(outlines)
        await page.keyboard.press("Tab")
        if outlines[0] == "BODY":
            break
    assert len(seen) > 5
    assert [name for name, shown in seen if not shown and name != "BODY"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_looks(
    open_player: OpenPlayer, open_service: OpenService, name: Name, size: Size, scheme: str
) -> None:
    """Whatever they show: legible, and never wider than the screen."""
    player = await open_player(size=size, scheme=scheme)
    service = await open_service(size=size, scheme=scheme)
    await looks_well(player.page)
    await looks_well(service.page)
    await player.sign_in(name("alice"))
    await player.address(name("alice"), name("bob"), "a-name-without-end-" * 6)
    await player.send("a word without an end " + "x" * 300)
    await expect(player.received).to_have_count(1)
    await expect(player.sent).to_contain_text("queued")
    await player.page.locator("#frames summary").first.evaluate("(summary) => summary.click()")
    await looks_well(player.page)
    await player.page.evaluate("document.querySelector('#leave').click()")
    await looks_well(player.page)


async def looks_well(page: Page) -> None:
    views = page.locator("#views button")
    for number in range(await views.count()):
        if await views.nth(number).is_visible():
            await views.nth(number).click()
        await page.evaluate("Promise.all(document.getAnimations().map((each) => each.finish()))")
        assert await page.evaluate(FAINT) == []
        assert await page.evaluate(TOO_WIDE) == []
    if await views.first.is_visible():
        await views.first.click()
