"""What browsers of other origins may do, at the handshake of either transport."""

import pytest
import websockets

from tests.e2e.conftest import Pair
from tests.e2e.gateways import GatewayProcess
from tests.socketio.conftest import ORIGIN
from tests.socketio.raw import open_websocket, request, target

ELSEWHERE = "http://elsewhere.example"


async def test_an_allowed_origin_is_named_with_credentials(gateways: GatewayProcess) -> None:
    answer = await request(gateways.port, "GET", target("polling"), headers={"origin": ORIGIN})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"


async def test_a_refusal_can_be_read_by_an_allowed_origin(gateways: GatewayProcess) -> None:
    unknown = target("polling", "unknown")
    answer = await request(gateways.port, "GET", unknown, headers={"origin": ORIGIN})
    assert answer.status == 400
    assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_a_preflight_is_answered(gateways: GatewayProcess) -> None:
    headers = {"origin": ORIGIN, "access-control-request-headers": "x-mine"}
    answer = await request(gateways.port, "OPTIONS", target("polling"), headers=headers)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-headers"] == "x-mine"
    assert "POST" in answer.headers["access-control-allow-methods"]


async def test_without_an_origin_nothing_is_said(gateways: GatewayProcess) -> None:
    answer = await request(gateways.port, "GET", target("polling"))
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_another_origin_is_refused(gateways: GatewayProcess) -> None:
    headers = {"origin": ELSEWHERE}
    answer = await request(gateways.port, "GET", target("polling"), headers=headers)
    assert (answer.status, answer.json) == (403, {"code": 4, "message": "Forbidden"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = await request(gateways.port, "OPTIONS", target("polling"), headers=headers)
    assert "access-control-allow-origin" not in preflight.headers
    with pytest.raises(websockets.InvalidStatus) as refused:
        await open_websocket(gateways.port, origin=websockets.Origin(ELSEWHERE))
    assert refused.value.response.status_code == 403


async def test_where_all_are_allowed_each_is_named(pair: Pair) -> None:
    headers = {"origin": ELSEWHERE}
    answer = await request(pair.first.port, "GET", target("polling"), headers=headers)
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE
    raw = await open_websocket(pair.first.port, origin=websockets.Origin(ELSEWHERE))
    await raw.close()
