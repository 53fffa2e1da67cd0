"""A real Chromium on the example pages, against real gateway processes and a real Valkey.

How each page looked at its test's end is kept in var/browser/.
"""

import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from tests.browser.pages import AdminPage, PlayerPage, ServicePage
from tests.browser.watcher import Watcher
from tests.e2e.gateways import ROOT, Deployment, GatewayProcess
from tests.valkey import Valkey

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",  # CI runs as root, and the pages are our own
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = ROOT / "var" / "browser"
OPERATOR = ("olga", "a password that only olga knows")
#: Of the service `herald`, which the environment names.
HERALD_KEY = "a key that only herald knows"

# Two busy cores may be slow; a condition that holds is not waited for.
expect.set_options(timeout=20_000)

Size = ViewportSize
DESKTOP: Size = {"width": 1280, "height": 800}
PHONE: Size = {"width": 390, "height": 844}

#: `deploy(VARIABLE="value")`: a deployment that lasts as long as the test.
Deploy = Callable[..., Deployment]
#: `open_page(url)`: a page in a window of its own, as another person's.
OpenPage = Callable[..., Awaitable[Page]]
OpenPlayer = Callable[..., Awaitable[PlayerPage]]
OpenService = Callable[..., Awaitable[ServicePage]]
#: `name("alice")`: a user id of this test's own.
Name = Callable[[str], str]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if shutil.which(CHROMIUM) is None:
        pytest.skip(
            f"{CHROMIUM} is missing: apt-get install chromium, or CHROMIUM=/path/to/chromium",
        )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def platform(
    valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Deployment, GatewayProcess]]:
    """Both gateways with their pages. No test may harm them."""
    directory = tmp_path_factory.mktemp("platform")
    deployment = Deployment(
        valkey,
        directory,
        ENABLE_EXAMPLES="true",
        DATABASE_URL=f"sqlite:///{directory}/db.sqlite3",
        CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news:Tells everybody everything",
        OFFLINE_GRACE="0.5",
        RATE_LIMITS="off",
    )
    try:
        yield deployment, deployment.start("all")
    finally:
        deployment.stop()


@pytest.fixture
def gateway(platform: tuple[Deployment, GatewayProcess]) -> GatewayProcess:
    return platform[1]


@pytest.fixture
def deploy(valkey: Valkey, tmp_path: Path) -> Iterator[Deploy]:
    deployments: list[Deployment] = []

    def make(**variables: str) -> Deployment:
        given = {
            "ENABLE_EXAMPLES": "true",
            "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
            **variables,
        }
        deployments.append(Deployment(valkey, tmp_path, **given))
        return deployments[-1]

    yield make
    for deployment in deployments:
        deployment.stop()


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """What any page of the test complained of; `watcher.expected` says what it may."""
    watcher = Watcher()
    yield watcher
    assert not watcher.complaints


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(
    browser: Browser, watcher: Watcher, request: pytest.FixtureRequest
) -> AsyncIterator[OpenPage]:
    pages: list[Page] = []

    async def make(url: str, size: Size = DESKTOP, scheme: str = "light") -> Page:
        context = await browser.new_context(
            viewport=size,
            color_scheme="dark" if scheme == "dark" else "light",
        )
        page = await context.new_page()
        pages.append(page)
        await watcher.watch(page, url)
        await page.goto(url)
        return page

    yield make
    PICTURES.mkdir(parents=True, exist_ok=True)
    test = re.sub(r"\W+", "-", request.node.name).strip("-")
    for number, page in enumerate(pages):
        await page.screenshot(path=PICTURES / f"{test}-{number}.png", animations="disabled")
        await page.context.close()


@pytest.fixture
def open_player(open_page: OpenPage, gateway: GatewayProcess) -> OpenPlayer:
    async def make(at: GatewayProcess = gateway, **look: object) -> PlayerPage:
        return PlayerPage(await open_page(f"http://127.0.0.1:{at.port}/examples/user/", **look))

    return make


@pytest.fixture
def open_service(open_page: OpenPage, gateway: GatewayProcess) -> OpenService:
    async def make(at: GatewayProcess = gateway, **look: object) -> ServicePage:
        url = f"http://127.0.0.1:{at.internal_port}/examples/internal/"
        return ServicePage(await open_page(url, **look))

    return make


@pytest.fixture
def name() -> Name:
    suffix = secrets.token_hex(4)
    return lambda who: f"{who}-{suffix}"


@contextmanager
def governing(valkey: Valkey, directory: Path) -> Iterator[GatewayProcess]:
    """Both gateways, where newcomers wait for approval, and one operator."""
    name, password = OPERATOR
    deployment = Deployment(
        valkey,
        directory,
        ENABLE_EXAMPLES="true",
        DATABASE_URL=f"sqlite:///{directory}/db.sqlite3",
        REQUIRE_SERVICE_APPROVAL="true",
        CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news:Tells everybody everything",
        DJANGO_SUPERUSER_PASSWORD=password,
    )
    try:
        gateway = deployment.start("all")
        gateway.manage(
            "createsuperuser", "--noinput", "--username", name, "--email", "olga@example.org"
        )
        yield gateway
    finally:
        deployment.stop()


@pytest.fixture
def governed(valkey: Valkey, tmp_path: Path) -> Iterator[GatewayProcess]:
    """Of one test: what its operator decides stays."""
    with governing(valkey, tmp_path) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="session")
async def admin(governed: GatewayProcess, open_page: OpenPage) -> AdminPage:
    url = f"http://127.0.0.1:{governed.internal_port}"
    admin = AdminPage(await open_page(f"{url}/admin/"), url)
    await admin.log_in(*OPERATOR)
    return admin
