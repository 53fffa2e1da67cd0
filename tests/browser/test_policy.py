"""The admin and the example pages under their Content-Security-Policy. The watcher hears of every
violation; here is that what needs a script or a style still works.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import OPERATOR, OpenPage, OpenPlayer, OpenService, governing
from tests.browser.pages import AdminPage
from tests.browser.watcher import Watcher
from tests.e2e.gateways import GatewayProcess
from tests.valkey import Valkey

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = (
    "/admin/",
    "/admin/services_registry/",
    "/admin/services_registry/service/",
    "/admin/services_registry/service/?state=enabled",
    "/admin/services_registry/service/add/",
    "/admin/services_registry/service/1/change/",
    "/admin/services_registry/service/1/delete/",
    "/admin/services_registry/service/decide/disable/?service=1",
    "/admin/services_registry/service/decide/rotate-key/?service=1",
    "/admin/services_registry/serviceevent/",
    "/admin/gateways/livesession/",
    "/admin/gateways/livesession/disconnect/?kind=user&whose=alice",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/user/1/change/",
    "/admin/auth/user/1/delete/",
    "/admin/auth/group/",
    "/admin/auth/group/add/",
    "/admin/password_change/",
)
EXPRESSIONS = (
    "1 + 2 * 3 - 4 / 2 % 3",
    "(1 + 2) * 3",
    "'a' + 1 + \"b\"",
    "1 < 2 && 2 >= 3 || !0",
    "null || undefined || 'last'",
    "0 == '' && 0 !== '' && 1 === 1 && 1 != 2",
    "1 ? 2 ? 'a' : 'b' : 'c'",
    "({'a b': [1, -2, 'it\\'s'], c: {d: true}})",
    "[1, 2, 3].map(n => n * 2).includes(4)",
    "'abc'.toUpperCase()['length']",
    "[[1, 2], [3]][0][1]",
)
#: Of the page, or of the language.
OUT_OF_REACH = (
    "fetch('/')",
    "document.cookie",
    "window.eval('1')",
    "''.constructor.constructor('return 1')()",
    "''['const' + 'ructor']",
    "[].__proto__",
    "1 +",
    "`text`",
    "a => { b }",
    "1 = 2",
)


@pytest.fixture(scope="module")
def governed(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Of all tests here: they look at pages, and decide nothing."""
    with governing(valkey, tmp_path_factory.mktemp("governed")) as gateway:
        yield gateway


@pytest.fixture
def gateway(governed: GatewayProcess) -> GatewayProcess:
    return governed


async def test_every_page_of_the_admin_keeps_to_its_policy(admin: AdminPage) -> None:
    for path in PAGES:
        answer = await admin.page.goto(admin.url + path)
        assert answer is not None
        assert answer.status == 200, path
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'; style-src 'self'" in policy
        # Alpine is done, whose x-cloak hides what it has not begun with.
        await expect(admin.page.locator("html")).not_to_have_attribute("x-cloak", "")
        assert await _colour(admin.page, "--color-primary-600") == "oklch(55% 0.17 40)"


async def test_a_violation_would_be_heard(admin: AdminPage, watcher: Watcher) -> None:
    """Else the test above shows nothing."""
    watcher.expected = ["policy violation", "Content Security Policy"]
    await admin.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=top:0>')")
    await watcher.hears("policy violation: style-src-attr")
    await admin.page.evaluate(
        "document.head.append(Object.assign(document.createElement('script'), {text: '1'}))"
    )
    await watcher.hears("policy violation: script-src-elem")


async def test_expressions_mean_what_they_do_in_javascript(admin: AdminPage) -> None:
    for expression in EXPRESSIONS:
        meant = await admin.page.evaluate(f"() => ({expression})")
        got = await admin.page.evaluate("it => Alpine.evaluate(document.body, it)", expression)
        assert got == meant, expression


async def test_expressions_do_not_reach_further(admin: AdminPage, watcher: Watcher) -> None:
    watcher.expected = ["in the expression"]
    for expression in OUT_OF_REACH:
        got = await admin.page.evaluate("it => Alpine.evaluate(document.body, it)", expression)
        assert got is None, expression
        await watcher.hears(re.escape(f"in the expression {expression}"))


async def test_menus_themes_and_the_sidebar_work(admin: AdminPage) -> None:
    page = admin.page
    await page.get_by_text("olga@example.org").first.click()
    change = page.get_by_role("link", name="Change password")
    await expect(change).to_be_visible()
    await page.locator("h1").click()
    await expect(change).to_be_hidden()

    menu = page.locator("#nav-sidebar")
    await page.get_by_text("dock_to_right").locator("visible=true").click()
    await expect(menu).to_be_hidden()
    await page.reload()
    await expect(menu).to_be_hidden()
    await page.get_by_text("dock_to_right").locator("visible=true").click()
    await expect(menu).to_be_visible()

    before = await page.locator("html").get_attribute("class")
    await page.keyboard.press("Control+e")
    await expect(page.locator("html")).not_to_have_class(before or "")
    await page.reload()
    await expect(page.locator("html")).not_to_have_class(before or "")


async def test_the_command_search_finds(admin: AdminPage) -> None:
    page = admin.page
    await page.keyboard.press("Control+k")
    field = page.locator("[x-ref=searchInputCommand]")
    await expect(field).to_be_focused()
    await field.press_sequentially("serv")
    await expect(page.locator("#command-results-list li").first).to_be_visible()
    await field.press("ArrowDown")
    await field.press("Enter")
    await expect(page).to_have_url(re.compile("/admin/services_registry/"))


async def test_a_lists_actions_and_filters_work(admin: AdminPage) -> None:
    page = admin.page
    await admin.go("/admin/auth/user/")
    await page.get_by_label("Select all objects").check()
    run = page.get_by_role("button", name="Run")
    await expect(run).to_be_hidden()
    await page.get_by_label("Select action to run").select_option("Delete selected users")
    await expect(run).to_be_visible()
    # Whose width a script keeps in step with the list's.
    bar, results = page.locator("#changelist-actions"), page.locator("#changelist")
    assert await _width(bar) == pytest.approx(await _width(results), abs=80)
    await page.get_by_text("filter_list").first.click()
    await expect(page.locator("#changelist-filter")).to_be_visible()


async def test_a_users_form_works(admin: AdminPage) -> None:
    page = admin.page
    await admin.go("/admin/auth/user/add/")
    await page.get_by_label("Username").fill("otto")
    await page.locator("#id_password1").fill("a password that only otto knows")
    await page.locator("#id_password2").fill("a password that only otto knows")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("was added successfully")).to_be_visible()
    # Of the same form: the two lists of permissions are made by Django's script.
    await page.locator("#id_user_permissions_from option").first.wait_for(state="attached")
    chosen = page.locator("#id_user_permissions_to option")
    await expect(chosen).to_have_count(0)
    await page.locator("#id_user_permissions_from").select_option(index=0)
    await page.locator("#id_user_permissions_add_link, #id_user_permissions_add").first.click()
    await expect(chosen).to_have_count(1)
    # And the calendar.
    await page.locator("#id_last_login_0 ~ .datetimeshortcuts a[id^=calendarlink]").click()
    await page.get_by_role("link", name="Today", exact=True).last.click()
    await expect(page.locator("#id_last_login_0")).not_to_have_value("")


async def test_the_example_pages_keep_to_theirs(
    open_player: OpenPlayer, open_service: OpenService
) -> None:
    for example in (await open_player(), await open_service()):
        answer = await example.page.reload()
        assert answer is not None
        assert "unsafe" not in answer.headers["content-security-policy"]
        await expect(example.page.locator("#status-words")).to_have_text("Not connected")


async def test_a_login_page_works_without_a_session(
    governed: GatewayProcess, open_page: OpenPage
) -> None:
    url = f"http://127.0.0.1:{governed.internal_port}"
    page = await open_page(f"{url}/admin/auth/user/")
    await page.get_by_label("Username").fill(OPERATOR[0])
    await page.get_by_label("Password").fill("not it")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("Please enter the correct username")).to_be_visible()


async def _colour(page: Page, name: str) -> str:
    value: str = await page.evaluate(
        "name => getComputedStyle(document.documentElement).getPropertyValue(name)", name
    )
    return value


async def _width(locator: Locator) -> float:
    box = await locator.bounding_box()
    assert box is not None
    return float(box["width"])
