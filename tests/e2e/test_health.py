"""What each port serves, and what it does not."""

import asyncio

import pytest
import websockets
from websockets.typing import Origin

from tests.e2e.client import connect, token
from tests.e2e.conftest import Deploy, Name
from tests.e2e.gateways import GatewayProcess

ORIGIN = "https://game.example.com"


@pytest.fixture(scope="module")
def both(deploy: Deploy) -> GatewayProcess:
    return deploy(CORS_ORIGIN=ORIGIN).start("all")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_both_ports_are_well(both: GatewayProcess, path: str) -> None:
    for port in (both.port, both.internal_port):
        assert both.get(path, port)[0] == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/admin", "/admin/", "/metrics", "/static/x"])
def test_nothing_of_the_others(both: GatewayProcess, path: str) -> None:
    assert both.get(path, both.port)[0] == 404


def test_the_admin_asks_for_a_login(both: GatewayProcess) -> None:
    status, body = both.get("/admin/", both.internal_port)
    assert status == 200
    assert "password" in body


@pytest.mark.parametrize("path", ["/", "/nothing", "/ws/", "/ws/more", "/admin/", "/healthz"])
async def test_a_socket_on_another_path_is_refused(both: GatewayProcess, path: str) -> None:
    for port in (both.port, both.internal_port):
        with pytest.raises(websockets.InvalidStatus) as refusal:
            await websockets.connect(f"ws://127.0.0.1:{port}{path}")
        assert refusal.value.response.status_code in (403, 404)


async def test_the_internal_port_serves_no_players(both: GatewayProcess, name: Name) -> None:
    """No event of one gateway works on the other."""
    header = {"Authorization": f"Bearer {token(name('alice'))}"}
    url = f"ws://127.0.0.1:{both.internal_port}/ws"
    try:
        async with connect(url, additional_headers=header) as client:
            answer = await client.request("get_all_online_users")
            assert answer["code"] in ("unknown_event", "unauthenticated")
            assert not client.seen("connected")
    except (websockets.InvalidStatus, ConnectionError):
        pass  # as long as it has no sockets at all


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", ORIGIN + ".evil.com"])
async def test_a_foreign_page_may_not_connect(both: GatewayProcess, origin: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await websockets.connect(both.url, origin=Origin(origin))
    assert refusal.value.response.status_code == 403


@pytest.mark.parametrize("origin", [ORIGIN, None])
async def test_own_pages_and_clients_without_origin_may(
    both: GatewayProcess, name: Name, origin: str | None
) -> None:
    async with connect(both.url, origin=origin) as client:
        assert "user" in await client.authenticate(name("alice"))


async def test_plain_http_on_the_sockets_path(both: GatewayProcess) -> None:
    status, _ = await asyncio.to_thread(both.get, "/ws")
    assert status == 404
