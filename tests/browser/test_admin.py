"""An operator in the admin, and what the services and players see of it at once."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import HERALD_KEY, OpenPlayer, OpenService
from tests.browser.pages import AdminPage
from tests.e2e.gateways import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def gateway(governed: GatewayProcess) -> GatewayProcess:
    return governed


async def test_a_newcomer_waits_until_it_is_approved(
    admin: AdminPage, open_service: OpenService
) -> None:
    newcomer = await open_service()
    await newcomer.register("matchmaker")
    await expect(newcomer.registered).to_contain_text("pending")
    await newcomer.button("Authenticate").click()
    await newcomer.ended("4403")

    await admin.go("/admin/services_registry/service/")
    await expect(admin.menu("Services")).to_contain_text("1")
    await expect(admin.row("matchmaker")).to_contain_text("pending")
    await admin.row("matchmaker").get_by_text("more_horiz").click()
    await admin.page.get_by_role("link", name="Approve").click()
    await admin.page.get_by_role("button", name="Approve").click()
    await expect(admin.page.get_by_text("matchmaker was approved.")).to_be_visible()
    await expect(admin.page.get_by_role("row").filter(has_text="Approved")).to_contain_text("olga")

    await newcomer.button("Authenticate").click()
    await newcomer.connected("matchmaker")


async def test_disabling_ends_sessions_at_once(admin: AdminPage, open_service: OpenService) -> None:
    herald = await open_service()
    await herald.authenticate("herald", HERALD_KEY)
    await herald.connected("herald")
    await admin.go("/admin/services_registry/service/")
    await expect(admin.row("herald")).to_contain_text("enabled news 1")

    await admin.open_service("herald")
    await admin.decide("Disable")
    await herald.ended("4403")
    await expect(herald.ending).to_contain_text("The service was disabled, or its key changed.")
    await expect(admin.page.get_by_text("herald was disabled.")).to_be_visible()
    await herald.button("Authenticate").click()
    await expect(herald.ending).to_contain_text("disabled")

    await admin.decide("Enable")
    await herald.button("Authenticate").click()
    await herald.connected("herald")


async def test_many_are_decided_on_at_once(admin: AdminPage, open_service: OpenService) -> None:
    for name in ("first", "second"):
        newcomer = await open_service()
        await newcomer.register(name)
        await expect(newcomer.registered).to_contain_text("pending")
    await admin.go("/admin/services_registry/service/?state=pending")
    await admin.page.get_by_label("Select all objects").check()
    await admin.page.get_by_label("Select action to run").select_option("Reject")
    await admin.page.get_by_role("button", name="Run").click()
    await expect(admin.page.get_by_text("Reject 2 services?")).to_be_visible()
    await admin.page.get_by_role("button", name="Reject").click()
    for name in ("first", "second"):
        await expect(admin.row(name)).to_contain_text("rejected")


async def test_a_key_is_shown_once_and_opens(admin: AdminPage, open_service: OpenService) -> None:
    await admin.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await admin.go("/admin/services_registry/service/add/")
    await admin.page.get_by_label("Name").fill("ledger")
    await admin.page.get_by_label("Type").fill("accounts")
    await admin.page.get_by_role("button", name="Save", exact=True).click()
    key = await admin.page.get_by_label("Key").input_value()
    await admin.page.get_by_role("button", name="Copy").click()
    await expect(admin.page.get_by_text("Copied.")).to_be_visible()
    assert await admin.page.evaluate("navigator.clipboard.readText()") == key

    ledger = await open_service()
    await ledger.authenticate("ledger", key)
    await ledger.connected("ledger")
    await admin.page.get_by_role("link", name="I have it").click()
    await expect(admin.page.get_by_text("Audit trail").last).to_be_visible()
    assert key not in await admin.page.content()


async def test_a_double_click_rotates_once(admin: AdminPage, open_service: OpenService) -> None:
    await admin.open_service("herald")
    await admin.page.get_by_role("link", name="Rotate key").click()
    await admin.page.get_by_role("button", name="Rotate key").dblclick()
    key = await admin.page.get_by_label("Key").input_value()
    # Both are good while the service's machines change over.
    for good in (key, HERALD_KEY):
        herald = await open_service()
        await herald.authenticate("herald", good)
        await herald.connected("herald")


async def test_live_sessions_are_found_and_ended(
    admin: AdminPage, open_service: OpenService, open_player: OpenPlayer
) -> None:
    herald, player = await open_service(), await open_player()
    await herald.authenticate("herald", HERALD_KEY)
    await herald.connected("herald")
    await player.sign_in("alice")

    await admin.menu("Live sessions").click()
    await expect(admin.row("herald")).to_contain_text("just now")
    await admin.page.get_by_role("link", name="alice", exact=True).click()
    await expect(admin.row("alice")).to_contain_text("example-page")
    await admin.row("alice").get_by_role("link", name="Disconnect").click()
    await admin.page.get_by_role("button", name="Disconnect").click()
    await player.ended("An operator ended the session.")
    await expect(admin.page.get_by_text("No user of this id has a session.")).to_be_visible()

    await admin.page.get_by_label("part of a service's name").fill("hera")
    await admin.page.get_by_role("button", name="Search").click()
    await admin.row("herald").get_by_role("link", name="Disconnect").click()
    await admin.page.get_by_role("button", name="Disconnect").click()
    await herald.ended("An operator ended the session.")
