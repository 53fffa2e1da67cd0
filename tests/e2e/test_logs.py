"""What two gateway processes log: a message's path at debug, and what no level shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import connect, connect_as, eventually, token
from tests.e2e.conftest import Deploy, Name, Pair
from tests.e2e.gateways import GatewayProcess

CANARY = "a canary's song"
HOSTILE = "\x1b[31m\r\n\u202eevil"


@pytest.fixture(scope="module")
def debugged(deploy: Deploy) -> Pair:
    deployment = deploy(LOG_LEVEL="debug", OFFLINE_GRACE="1")
    return Pair(deployment, *deployment.start_pair())


def rows(*gateways: GatewayProcess) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for gateway in gateways
        for file in Path(gateway.environment["LOG_DIR"]).glob("user*.log")
        for line in file.read_text().splitlines()
    ]


async def test_debug_lines_show_a_messages_path_and_not_the_message(
    debugged: Pair, name: Name
) -> None:
    alice, bob = name("alice"), name("bob")
    secret = token(alice)
    async with connect(debugged.first.url) as sender:
        connected = await sender.request("authenticate", {"token": secret})
        async with connect_as(debugged.second.url, bob) as recipient:
            receipt = await sender.message(bob, CANARY, metadata={"song": CANARY})
            await recipient.pushed("message")

            def path() -> list[dict[str, Any]]:
                everything = rows(debugged.first, debugged.second)
                return [row for row in everything if row.get("message_id") == receipt["messageId"]]

            async def whole() -> bool:
                return {row["message"] for row in path()} == {"sent", "stored", "handed"}

            await eventually(whole, "the message's path in the logs")
            sent, stored, handed = [
                next(row for row in path() if row["message"] == step)
                for step in ("sent", "stored", "handed")
            ]
    assert sent["request"] == stored["request"]
    assert sent["user"] == sent["user_id"] == alice
    assert sent["session"] == connected["sessionId"]
    assert (stored["user_id"], stored["seq"], stored["sender"]) == (bob, 1, alice)
    assert handed["session_id"].startswith(stored["nodes"])
    assert (handed["seq"], handed["how"]) == (1, "pushed")
    requests = [row for row in rows(debugged.first) if row.get("request") == sent["request"]]
    assert {"request", "sent", "stored"} <= {row["message"] for row in requests}
    (frame,) = [row for row in requests if row["message"] == "request"]
    assert frame["event_name"] == "send_message"
    for gateway in (debugged.first, debugged.second):
        assert CANARY not in gateway.logs()
        assert secret not in gateway.logs()


async def test_each_request_has_an_id_of_its_own(debugged: Pair, name: Name) -> None:
    async with connect_as(debugged.first.url, name("alice")) as alice:
        for _ in range(3):
            await alice.request("ping")
        session_id = alice.seen("connected")[0]["sessionId"]

    def mine() -> list[dict[str, Any]]:
        return [row for row in rows(debugged.first) if row.get("session") == session_id]

    async def over() -> bool:
        return "disconnected" in [row["message"] for row in mine()]

    await eventually(over, "the session's last line")
    pings = [row["request"] for row in mine() if row.get("event_name") == "ping"]
    assert len(set(pings)) == 3
    (ended,) = [row for row in mine() if row["message"] == "disconnected"]
    assert ended["user"] == name("alice")


async def test_what_clients_name_is_spelled_out(debugged: Pair, name: Name) -> None:
    async with connect(
        debugged.first.url, additional_headers={"Origin": "http://\u009b31m"}
    ) as client:
        await client.authenticate(name("alice"), deviceId="phone")
        await client.request(HOSTILE)
    status, _ = debugged.first.get("/%1b%5b31m%0aforged")
    assert status == 404
    refused = [row for row in rows(debugged.first) if row["message"] == "refused"]
    assert refused[-1]["event_name"] == "\\x1b[31m\\r\\n\\u202eevil"
    assert refused[-1]["code"] == "unknown_event"
    for line in debugged.first.logs().split("\n"):
        assert line.isprintable(), ascii(line)
