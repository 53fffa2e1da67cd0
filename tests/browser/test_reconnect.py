"""The pages come back by themselves, and miss nothing."""

import os
import signal

import pytest
from playwright.async_api import expect

from tests.browser.conftest import HERALD_KEY, Deploy, Name, OpenPlayer, OpenService
from tests.browser.watcher import Watcher
from tests.e2e.client import connect_as
from tests.e2e.gateways import Deployment, GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Chromium says so in its console, and no page can keep it from that.
NOT_THERE = r"WebSocket connection to .* failed"


def kill(gateway: GatewayProcess) -> None:
    """As a power cut would."""
    for pid in (gateway.process.pid, *gateway.node_pids):
        os.kill(pid, signal.SIGKILL)
    gateway.process.wait()


def start_again(deployment: Deployment, gateway: GatewayProcess) -> None:
    ports = {"PORT": str(gateway.port), "INTERNAL_PORT": str(gateway.internal_port)}
    deployment.start(gateway.gateway, **ports)


async def test_a_player_resumes_after_a_crash(
    deploy: Deploy, open_player: OpenPlayer, name: Name, watcher: Watcher
) -> None:
    watcher.expected.append(NOT_THERE)
    deployment = deploy(NODE_LEASE="3")
    first, second = deployment.start_pair()
    page = await open_player(first)
    await page.sign_in(name("alice"))
    async with connect_as(second.url, name("bob")) as bob:
        await bob.message(name("alice"), "before")
        await expect(page.received).to_have_count(1)

        kill(first)
        await expect(page.status).to_contain_text("Coming back")
        await page.address(name("bob"))
        mine = await page.send("written while away")
        await expect(mine).to_contain_text("waits for the connection")
        await bob.message(name("alice"), "meanwhile")
        start_again(deployment, first)

        await page.connected(name("alice"))
        await bob.message(name("alice"), "after")
        texts = ["before", "meanwhile", "after"]
        await expect(page.received.locator(".text")).to_have_text(texts)
        await expect(page.delivery(mine, name("bob"))).to_contain_text("sent")
        assert await bob.texts(1) == ["written while away"]
    await expect(page.notices).to_be_empty()
    await page.frame("connected", "received").first.locator("summary").click()
    await expect(page.frames.locator("pre")).to_contain_text('"recovered": true')
    await expect(page.frames.locator("pre")).to_contain_text('"missed": 1')


async def test_a_restart_is_announced_and_waited_for(
    deploy: Deploy, open_player: OpenPlayer, name: Name, watcher: Watcher
) -> None:
    watcher.expected.append(NOT_THERE)
    deployment = deploy()
    gateway = deployment.start()
    page = await open_player(gateway)
    await page.sign_in(name("alice"))
    gateway.terminate()
    await expect(page.frame("server_shutdown", "received")).to_be_visible()
    await expect(page.status).to_contain_text("Coming back in")
    gateway.stop()
    start_again(deployment, gateway)
    await page.connected(name("alice"))


async def test_a_player_who_leaves_stays_away(open_player: OpenPlayer, name: Name) -> None:
    page = await open_player()
    await page.sign_in(name("alice"))
    await page.button("Disconnect").click()
    await expect(page.status).to_have_text("Not connected")
    await expect(page.button("Send")).to_be_disabled()
    # Coming back is for the same person to decide, and resumes.
    await page.button("Connect").click()
    await page.connected(name("alice"))
    await page.frame("authenticate", "sent").first.locator("summary").click()
    await expect(page.frames.locator("pre")).to_contain_text('"resume"')


async def test_a_service_authenticates_again(
    deploy: Deploy, open_service: OpenService, watcher: Watcher
) -> None:
    watcher.expected.append(NOT_THERE)
    deployment = deploy(CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news")
    gateway = deployment.start("internal")
    page = await open_service(gateway)
    await page.authenticate("herald", HERALD_KEY)
    await page.connected("herald")
    kill(gateway)
    await expect(page.status).to_contain_text("Coming back")
    start_again(deployment, gateway)
    await page.connected("herald")
