"""The player's page, from connecting to a message received."""

from contextlib import AsyncExitStack

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Deploy, Name, OpenPlayer
from tests.browser.watcher import Watcher
from tests.e2e.client import connect_as, token
from tests.e2e.gateways import Deployment, GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_two_players_write_to_each_other(open_player: OpenPlayer, name: Name) -> None:
    alice, bob, away = name("alice"), name("bob"), name("away")
    page, other = await open_player(), await open_player()
    await page.sign_in(alice)
    await other.sign_in(bob)

    await page.address(bob, away)
    message = await page.send("hello you two")
    await expect(page.delivery(message, bob)).to_contain_text("sent")
    await expect(page.delivery(message, away)).to_contain_text("queued")
    await expect(other.received).to_have_count(1)
    await expect(other.received).to_contain_text("hello you two")
    await expect(other.received).to_contain_text(alice)

    await other.address(alice)
    await other.send("hello back")
    await expect(page.received).to_contain_text("hello back")


async def test_what_was_sent_while_away_comes_first(open_player: OpenPlayer, name: Name) -> None:
    page, other = await open_player(), await open_player()
    await page.sign_in(name("alice"))
    await page.address(name("bob"))
    for text in ("one", "two"):
        await expect(page.delivery(await page.send(text), name("bob"))).to_contain_text("queued")
    await other.sign_in(name("bob"))
    await expect(other.feed).to_contain_text("2 messages while you were away")
    await expect(other.received.locator(".text")).to_have_text(["one", "two"])


async def test_a_message_that_fails_says_so(
    deploy: Deploy, open_player: OpenPlayer, name: Name
) -> None:
    """Without an inbox, who is not there gets nothing."""
    page = await open_player(deploy(INBOX_TTL="0").start())
    await page.sign_in(name("alice"))
    await page.address(name("nobody"))
    message = await page.send("is anybody there?")
    await expect(page.delivery(message, name("nobody"))).to_contain_text("failed")


async def test_friends_come_and_go(
    platform: tuple[Deployment, GatewayProcess], open_player: OpenPlayer, name: Name
) -> None:
    alice, bob = name("alice"), name("bob")
    platform[0].befriend(alice, bob)
    page, other = await open_player(), await open_player()
    await page.sign_in(alice)
    await expect(page.page.get_by_text("No friend is online.")).to_be_visible()

    await other.sign_in(bob)
    await expect(page.person(bob)).to_contain_text("online")
    await other.button("Disconnect").click()
    await expect(page.person(bob)).to_contain_text("offline, last seen just now")

    await page.button(f"Write to {bob}").click()
    message = await page.send("come back")
    await expect(page.delivery(message, bob)).to_contain_text("queued")


async def test_who_is_online_page_by_page(
    gateway: GatewayProcess, open_player: OpenPlayer, name: Name
) -> None:
    page = await open_player()
    async with AsyncExitStack() as stack:
        for number in range(25):
            await stack.enter_async_context(connect_as(gateway.url, name(f"extra{number:02}")))
        await page.sign_in(name("alice"), email="alice@example.com")
        await page.page.get_by_text("Everyone").click()
        await expect(page.people).to_have_count(20)
        await page.button("More").click()
        await expect(page.person(name("extra24"))).to_be_visible()
        await expect(page.people).not_to_have_count(20)

        await page.page.get_by_text("Detailed").click()
        await expect(page.people).to_have_count(20)
        # The order is that of the directory's shards, by the hash of a name that differs each run.
        await page.button("More").click()
        await expect(page.person(name("alice"))).to_contain_text("1 session, alice@example.com")


async def test_devices_are_seen_and_ended(open_player: OpenPlayer, name: Name) -> None:
    page, other = await open_player(), await open_player()
    await other.page.get_by_label("Device id").fill("old phone")
    await other.sign_in(name("alice"))
    await page.sign_in(name("alice"))
    await expect(page.devices).to_have_count(2)
    await expect(page.devices.filter(has_text="this one")).to_contain_text("example-page")

    await page.button("Close the session of old phone").click()
    await expect(page.devices).to_have_count(1)
    await other.ended("4403")
    await page.connected(name("alice"))


async def test_a_wrong_token_is_refused_for_good(open_player: OpenPlayer, name: Name) -> None:
    page = await open_player()
    await page.token.fill("not a token")
    await expect(page.page.get_by_text("This does not look like a token.")).to_be_visible()
    await page.button("Connect").click()
    await page.ended("4401")

    await page.token.fill(token(name("alice"), lifetime_seconds=-60))
    await expect(page.page.locator("#token-says")).to_contain_text("expired 1 min. ago")
    await page.button("Connect").click()
    await page.ended("4401", "expired")
    # One socket for each press of the button: it does not come back on 44xx.
    await expect(page.frames.get_by_text("connected", exact=True)).to_have_count(2)

    await page.sign_in(name("alice"))
    await expect(page.notices).to_be_empty()


async def test_a_token_that_ends_is_renewed(open_player: OpenPlayer, name: Name) -> None:
    page = await open_player()
    await page.sign_in(name("alice"), lifetime_seconds=30)
    await expect(page.notices).to_contain_text("The token expires at")
    await page.token.fill(token(name("alice")))
    await page.button("Renew the token").click()
    await expect(page.notices).to_contain_text("Renewed.")
    await expect(page.page.locator("#status-words")).to_have_text(f"Connected as {name('alice')}")
    await expect(page.frames.get_by_text("connected", exact=True)).to_have_count(3)


async def test_a_token_that_ended_is_said_in_words(open_player: OpenPlayer, name: Name) -> None:
    page = await open_player()
    await page.sign_in(name("alice"), lifetime_seconds=3)
    await page.ended("4401", "The token has expired.")
    await expect(page.button("Send")).to_be_disabled()


async def test_nothing_of_the_wire_becomes_markup(
    gateway: GatewayProcess, open_player: OpenPlayer, name: Name, watcher: Watcher
) -> None:
    """Neither a text nor a name, neither in the messages nor in the log of frames."""
    evil = '<img src=x onerror="document.title=1">' + name("eve")
    page = await open_player()
    await page.sign_in(name("alice"))
    async with connect_as(gateway.url, evil) as eve:
        await eve.message(name("alice"), evil + "<script>document.title=1</script>")
        await expect(page.received.locator(".text")).to_contain_text("<script>document.title=1")
        await page.page.get_by_text("Everyone").click()
        await expect(page.person(evil)).to_be_visible()
        await page.button(f"Write to {evil}").click()
        await page.send(evil)
        await expect(page.sent).to_contain_text("sent")
        await page.frame("message", "received").locator("summary").click()
        await expect(page.frames.locator("pre")).to_contain_text("<script>")
        await eve.pushed("message")
    assert await page.page.locator("main img, main script").count() == 0
    await expect(page.page).to_have_title("Scarfall: a player")
    assert not watcher.complaints


async def test_the_frame_log_keeps_secrets_and_can_be_searched(
    open_player: OpenPlayer, name: Name
) -> None:
    page = await open_player()
    secret = token(name("alice"))
    await page.token.fill(secret)
    await page.button("Connect").click()
    await page.connected(name("alice"))
    await page.frame("authenticate", "sent").locator("summary").click()
    await expect(page.frames.locator("pre")).to_contain_text("•••••• (")
    assert secret not in await page.page.content()

    await page.page.get_by_label("Filter the frames").fill("get_sessions")
    await expect(page.frames.get_by_role("listitem")).to_have_count(2)
    await page.page.get_by_label("Direction of the frames").select_option("received")
    await expect(page.frames.get_by_role("listitem")).to_have_count(1)
    await page.page.locator("#frame-clear").click()
    await expect(page.frames.get_by_role("listitem")).to_have_count(0)
    await page.button("Ping").click()
    await expect(page.page.locator("#round-trip")).to_contain_text("ms")


async def test_a_keyboard_is_enough(open_player: OpenPlayer, name: Name) -> None:
    page, other = await open_player(), await open_player()
    await other.sign_in(name("bob"))
    keyboard = page.page.keyboard
    # The token's field has the focus from the start.
    await keyboard.type(token(name("alice")))
    await keyboard.press("Enter")
    await page.connected(name("alice"))
    await expect(page.recipients).to_be_focused()
    await keyboard.type(name("bob"))
    await keyboard.press("Enter")
    await keyboard.press("Tab")
    await keyboard.type("no mouse")
    await keyboard.press("Shift+Enter")
    await keyboard.type("was harmed")
    await keyboard.press("Tab")
    await expect(page.button("Send")).to_be_focused()
    await keyboard.press("Enter")
    await expect(other.received.locator(".text")).to_have_text("no mouse\nwas harmed")
