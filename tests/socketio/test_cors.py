"""What browsers of other origins may do, at the handshake of either transport."""

import asyncio
import json

import pytest
import websockets

from tests.e2e.conftest import Pair
from tests.e2e.gateways import GatewayProcess
from tests.socketio.conftest import ORIGIN
from tests.socketio.raw import open_polling, open_websocket, request, target

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


async def test_every_request_of_an_allowed_origin_is_answered_with_its_name(
    gateways: GatewayProcess,
) -> None:
    """A POST, a poll, one that is too large, and one that comes too late."""
    raw = await open_polling(gateways.port)
    path = target("polling", raw.sid)
    too_much = "x" * (raw.handshake["maxPayload"] + 1)
    for method, body, status in [
        ("POST", "40", 200),
        ("GET", "", 200),
        ("PUT", "", 400),
        ("POST", too_much, 413),
        ("GET", "", 400),
    ]:
        answer = await request(gateways.port, method, path, body, headers={"origin": ORIGIN})
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"


async def test_another_origin_does_a_session_no_harm(gateways: GatewayProcess) -> None:
    raw = await open_polling(gateways.port)
    path = target("polling", raw.sid)
    for method, body in [("GET", ""), ("POST", "1"), ("POST", "40")]:
        for origin in (ELSEWHERE, "null", ORIGIN.upper(), ORIGIN + ".example", ORIGIN + ":81", ""):
            answer = await request(gateways.port, method, path, body, headers={"origin": origin})
            assert answer.status == 403
            assert "access-control-allow-origin" not in answer.headers
    await raw.send("40")
    assert (await raw.receive()).startswith('40{"sid":')
    await raw.close()


async def test_two_origins_of_which_one_is_not_allowed_end_it(gateways: GatewayProcess) -> None:
    """Whichever counts: nobody is left waiting."""
    lines = f"origin: {ORIGIN}\r\norigin: {ELSEWHERE}"
    answer = await request(gateways.port, "GET", target("polling"), headers={"x": f"y\r\n{lines}"})
    path = target("polling", json.loads(answer.body[1:])["sid"])
    polling = asyncio.create_task(request(gateways.port, "GET", path))
    await request(gateways.port, "POST", path, "40")
    assert (await polling).body in ("1", "41") or (await polling).status == 400


async def test_a_preflight_that_names_no_headers_allows_the_stock_clients(
    gateways: GatewayProcess,
) -> None:
    for path in (target("polling"), target("polling", "unknown"), "/socket.io/"):
        answer = await request(gateways.port, "OPTIONS", path, headers={"origin": ORIGIN})
        assert (answer.status, answer.body) == (204, "")
        assert answer.headers["access-control-allow-headers"] == "content-type"
        assert {"GET", "POST"} <= set(answer.headers["access-control-allow-methods"].split(","))
        assert answer.headers["access-control-allow-credentials"] == "true"


async def test_a_websocket_of_an_allowed_origin_opens(gateways: GatewayProcess) -> None:
    raw = await open_websocket(gateways.port, origin=websockets.Origin(ORIGIN))
    await raw.send("40")
    assert (await raw.receive()).startswith('40{"sid":')
    await raw.close()
