"""The pages as the documentation shows them: docs/images has copies of what these leave in
var/browser/.
"""

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import HERALD_KEY, PICTURES, OpenPlayer, OpenService
from tests.browser.pages import AdminPage
from tests.e2e.client import connect
from tests.e2e.gateways import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def gateway(governed: GatewayProcess) -> GatewayProcess:
    return governed


async def test_portraits(
    gateway: GatewayProcess, admin: AdminPage, open_player: OpenPlayer, open_service: OpenService
) -> None:
    async with connect(gateway.internal_url) as herald:
        await herald.authenticate_service("herald", HERALD_KEY)
        friends = {"userId": "alice", "friendIds": ["bob", "carol"]}
        assert (await herald.request("add_friends", friends))["status"] == "success"
    alice, bob = await open_player(), await open_player()
    await alice.sign_in("alice")
    await bob.sign_in("bob")
    await expect(alice.person("bob")).to_be_visible()
    await alice.address("bob", "carol")
    delivered = await alice.send("The gate opens at nine. Are you in?")
    await expect(alice.delivery(delivered, "bob")).to_contain_text("sent")
    await bob.address("alice")
    await bob.send("Two of us, yes. Carol sleeps, as always.")
    await expect(alice.received).to_have_count(1)

    service = await open_service(scheme="dark")
    await service.register("matchmaker")
    await expect(service.registered).to_contain_text("pending")
    await service.authenticate("herald", HERALD_KEY)
    await service.connected("herald")
    await service.address("alice", "bob", "carol")
    await service.send("Round 12 begins.")
    await expect(service.receipts).to_have_count(1)
    await expect(alice.received).to_have_count(2)

    await admin.go("/admin/services_registry/service/")
    await expect(admin.row("herald")).to_contain_text("enabled news 1")
    await expect(admin.row("matchmaker")).to_contain_text("pending")
    await portrait(alice.page, "player")
    await portrait(service.page, "service")
    await portrait(admin.page, "admin")


async def portrait(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")
