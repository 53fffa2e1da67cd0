"""The service's page: registering, authenticating, and what a service does to players."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import HERALD_KEY, Deploy, Name, OpenPlayer, OpenService
from tests.e2e.gateways import GatewayProcess
from tests.e2e.services import manage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_from_registering_to_a_message_received(
    open_service: OpenService, open_player: OpenPlayer, name: Name
) -> None:
    page, player = await open_service(), await open_player()
    await player.sign_in(name("alice"))
    await page.register(name("scribe"), metadata='{"region": "eu"}')
    await expect(page.registered).to_contain_text("approved")
    await page.button("Authenticate").click()
    await page.connected(name("scribe"))

    await page.address(name("alice"), name("away"))
    await page.page.locator("#message-form").get_by_label("Metadata").fill('{"match": 12}')
    await page.send("Round 12 begins")
    receipt = page.receipts.filter(has_text="Round 12 begins")
    await expect(receipt).to_contain_text(f"{name('alice')}sent")
    await expect(receipt).to_contain_text(f"{name('away')}queued")
    await expect(player.received).to_contain_text("Round 12 begins")
    await expect(player.received).to_contain_text(name("scribe"))
    await expect(player.received.locator(".badge")).to_have_text("test")

    await page.page.get_by_text("To everybody online").click()
    await page.send("The servers rest at 02:00")
    await expect(page.receipts).to_have_count(2)
    await expect(player.received.filter(has_text="rest at 02:00")).to_contain_text("to everybody")


async def test_metadata_that_is_no_object_is_not_sent(open_service: OpenService) -> None:
    page = await open_service()
    await page.authenticate("herald", HERALD_KEY)
    await page.connected("herald")
    await page.address("somebody")
    metadata = page.page.locator("#message-form").get_by_label("Metadata")
    for text, complaint in (("{", "not valid JSON"), ("[1]", "has to be a JSON object")):
        await metadata.fill(text)
        await page.send("never sent")
        await expect(page.notices).to_contain_text(complaint)
    await expect(page.receipts).to_have_count(0)


async def test_a_wrong_key_is_refused_and_masked(open_service: OpenService) -> None:
    page = await open_service()
    await page.authenticate("herald", "the key of somebody else")
    await page.ended("4401")
    await expect(page.ending).to_contain_text("with 4401")
    await page.frame("authenticate_service", "sent").locator("summary").click()
    await expect(page.frames.locator("pre")).to_contain_text("•••••• (24 characters)")
    assert "the key of somebody else" not in await page.page.content()


async def test_the_session_counts_down(open_service: OpenService) -> None:
    page = await open_service()
    await page.authenticate("herald", HERALD_KEY)
    await page.connected("herald")
    timers = page.page.get_by_role("timer")
    await expect(timers.first).to_contain_text("59:5")
    await expect(timers.last).to_contain_text("4:5")
    await page.button("Ping").click()
    await expect(timers.last).to_have_text("5:00")
    await expect(page.page.locator("#services")).to_contain_text("Tells everybody everything")


async def test_friends_and_statuses_and_an_end(
    open_service: OpenService, open_player: OpenPlayer, name: Name
) -> None:
    alice, bob = name("alice"), name("bob")
    page, player = await open_service(), await open_player()
    await page.authenticate("herald", HERALD_KEY)
    await page.connected("herald")

    await page.page.locator("#friends-of").fill(alice)
    await page.page.get_by_label("Friends").fill(bob)
    await page.button("Add").click()
    friends = page.page.locator("#friend-list")
    await expect(friends).to_contain_text(f"{alice} has 1 on the list:")
    await page.button("Remove").click()
    await expect(friends).to_contain_text(f"Nobody is on {alice}'s list.")
    await page.button("Replace the list").click()
    await expect(friends).to_contain_text(bob)

    await player.sign_in(alice)
    await page.page.get_by_label("Status of").fill(f"{alice},{bob},")
    await page.button("Look up").click()
    statuses = page.page.locator("#statuses").get_by_role("listitem")
    await expect(statuses.filter(has_text=alice)).to_contain_text("online, 1 session")
    await expect(statuses.filter(has_text=bob)).to_contain_text("offline")

    await page.button(f"Disconnect {alice}").click()
    await page.page.get_by_label("Reason").fill("Enough for today.")
    await page.button("Disconnect the player").click()
    await expect(page.page.get_by_text(f"One session of {alice} was ended.")).to_be_visible()
    await player.ended("4403", "Enough for today.")


async def test_a_service_waits_for_its_approval_and_can_be_shut_out(
    deploy: Deploy, open_service: OpenService, name: Name
) -> None:
    gateway = deploy(REQUIRE_SERVICE_APPROVAL="true").start("internal")
    page = await open_service(gateway)
    await page.register(name("scribe"))
    await expect(page.registered).to_contain_text("pending")
    await page.button("Authenticate").click()
    await page.ended("4403")

    await manage(gateway, "service", "approve", name("scribe"))
    await page.button("Authenticate").click()
    await page.connected(name("scribe"))
    await manage(gateway, "service", "disable", name("scribe"))
    await page.ended("4403")


async def test_an_idle_session_ends_with_a_reason(
    deploy: Deploy, open_service: OpenService
) -> None:
    gateway: GatewayProcess = deploy(
        CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news", SERVICE_SESSION_IDLE_TIMEOUT="2"
    ).start("internal")
    page = await open_service(gateway)
    await page.authenticate("herald", HERALD_KEY)
    await page.connected("herald")
    await page.ended("4408", "There was no request for too long.")
    await expect(page.ending).to_contain_text("with 4408")
