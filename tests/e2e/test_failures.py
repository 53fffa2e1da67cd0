"""Bad input of every kind: its typed answer, and nobody's service harmed."""

import json
from typing import Any

import pytest

from tests.e2e.client import Client, connect, connect_as, token
from tests.e2e.conftest import Deploy, Name, Pair
from tests.e2e.gateways import GatewayProcess

DEEP = "[" * 100_000 + "]" * 100_000
INVALID_FRAMES: dict[str, str | bytes] = {
    "empty": "",
    "not JSON": "hello",
    "half": '{"event": "ping"',
    "two": '{"event": "ping"}{"event": "ping"}',
    "list": "[]",
    "text": '"ping"',
    "null": "null",
    "no event": '{"id": 1}',
    "event of a wrong kind": '{"event": 7}',
    "id of a wrong kind": '{"event": "ping", "id": [1]}',
    "fraction as id": '{"event": "ping", "id": 1.5}',
    "long id": json.dumps({"event": "ping", "id": "x" * 65}),
    "huge id": '{"event": "ping", "id": ' + "9" * 4000 + "}",
    "unknown field": '{"event": "ping", "more": 1}',
    "NaN": '{"event": "ping", "data": NaN}',
    "deep": DEEP,
    "deep in data": '{"event": "send_message", "data": ' + DEEP + "}",
    "lone surrogate": '{"event": "\\ud800"}',
    "binary": b'{"event": "ping"}',
    "binary noise": b"\xff\x00\xfe",
}

GOOD: dict[str, Any] = {"recipientIds": ["bob"], "message": "hello"}
INVALID_PAYLOADS: list[tuple[str, Any, str]] = [
    ("send_message", None, "recipientIds"),
    ("send_message", [], "data"),
    ("send_message", "text", "data"),
    ("send_message", {**GOOD, "recipientIds": []}, "recipientIds"),
    ("send_message", {**GOOD, "recipientIds": "bob"}, "recipientIds"),
    ("send_message", {**GOOD, "recipientIds": [7]}, "recipientIds"),
    ("send_message", {**GOOD, "recipientIds": [""]}, "recipientIds"),
    ("send_message", {**GOOD, "recipientIds": ["x" * 129]}, "recipientIds"),
    ("send_message", {**GOOD, "recipientIds": ["a\nb"]}, "recipientIds"),
    ("send_message", {**GOOD, "message": 7}, "message"),
    ("send_message", {"recipientIds": ["bob"]}, "message"),
    ("send_message", {**GOOD, "metadata": []}, "metadata"),
    ("send_message", {**GOOD, "metadata": {"n": 2**64}}, "metadata"),
    ("send_message", {**GOOD, "messageId": "x" * 65}, "messageId"),
    ("send_message", {**GOOD, "messageId": ""}, "messageId"),
    ("send_message", {**GOOD, "messageId": 7}, "messageId"),
    ("send_message", {**GOOD, "sender": "eve"}, "sender"),
    ("ping", {"time": 1}, "time"),
    ("get_sessions", {"userId": "bob"}, "userId"),
    ("get_all_online_users", {"limit": 0}, "limit"),
    ("get_all_online_users", {"limit": 1001}, "limit"),
    ("get_all_online_users", {"limit": "10"}, "limit"),
    ("get_all_online_users", {"cursor": "nonsense"}, "cursor"),
    ("get_detailed_online_users", {"cursor": "OTk6YQ=="}, "cursor"),
    ("close_session", {}, "sessionId"),
    ("close_session", {"sessionId": ""}, "sessionId"),
    ("close_session", {"sessionId": "nobody's"}, "sessionId"),
    ("authenticate", {}, "token"),
    ("authenticate", {"token": 7}, "token"),
    ("authenticate", {"token": "x", "deviceId": ""}, "deviceId"),
    ("authenticate", {"token": "x", "resume": {"epoch": "e"}}, "seq"),
    ("authenticate", {"token": "x", "resume": {"epoch": "e", "seq": -1}}, "seq"),
    ("authenticate", {"token": "x", "resume": {"epoch": 1, "seq": 1}}, "epoch"),
]


@pytest.fixture(scope="module")
def small(deploy: Deploy) -> GatewayProcess:
    return deploy(MAX_MESSAGE_BYTES="1000", MAX_RECIPIENTS="5").start()


def is_failure(answer: Any, code: str) -> bool:
    assert set(answer) == {"status", "code", "error", "timestamp"}, answer
    assert answer["status"] == "error"
    assert len(answer["error"]) < 1000
    return bool(answer["code"] == code)


async def serves(client: Client) -> None:
    assert set(await client.request("ping")) == {"timestamp"}
    assert client.close_code is None


@pytest.mark.parametrize("frame", INVALID_FRAMES.values(), ids=list(INVALID_FRAMES))
async def test_invalid_frame(pair: Pair, name: Name, frame: str | bytes) -> None:
    async with (
        connect_as(pair.first.url, name("alice")) as alice,
        connect_as(pair.first.url, name("bob")) as bob,
    ):
        await alice.send(frame)
        (error,) = await alice.pushed("error")
        assert is_failure(error, "invalid_frame")
        await serves(alice)
        await bob.message(name("alice"), "are you there?")
        assert await alice.texts(1) == ["are you there?"]


async def test_ten_invalid_frames_in_a_row(pair: Pair, name: Name) -> None:
    async with connect_as(pair.first.url, name("alice")) as alice:
        for _ in range(2):
            for _ in range(9):
                await alice.send("nonsense")
            await serves(alice)
        for _ in range(10):
            await alice.send(b"nonsense")
        assert await alice.closed() == 4400
        assert len(alice.seen("error")) == 28


async def test_ten_invalid_frames_before_authentication(pair: Pair) -> None:
    async with connect(pair.first.url) as client:
        for _ in range(10):
            await client.send("nonsense")
        assert await client.closed() == 4400


async def test_text_that_is_not_utf8_ends_only_its_own_socket(pair: Pair, name: Name) -> None:
    """RFC 6455, section 8.1, leaves no choice: it fails the connection, with 1007."""
    async with (
        connect_as(pair.first.url, name("alice")) as alice,
        connect_as(pair.first.url, name("bob")) as bob,
    ):
        alice.socket.transport.write(b"\x81\x84\0\0\0\0\xff\xfe\xfd\xfc")
        assert await alice.closed() == 1007
        await serves(bob)


@pytest.mark.parametrize(("event", "data", "field"), INVALID_PAYLOADS)
async def test_invalid_payload_names_the_field(
    pair: Pair, name: Name, event: str, data: Any, field: str
) -> None:
    async with connect_as(pair.first.url, name("alice")) as alice:
        answer = await alice.request(event, data)
        assert is_failure(answer, "invalid_payload")
        assert field in answer["error"]
        await serves(alice)


async def test_metadata_as_deep_as_allowed_and_one_deeper(pair: Pair, name: Name) -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"a": nested(levels - 1)} if levels > 1 else {"a": 1}

    async with connect_as(pair.first.url, name("alice")) as alice:
        receipt = await alice.message(name("alice"), "deep", metadata=nested(31))
        assert receipt["status"] == "sent"
        answer = await alice.message(name("alice"), "deeper", metadata=nested(32))
        assert is_failure(answer, "invalid_payload")


@pytest.mark.parametrize(
    "event", ["", "pong", "broadcast", "authenticate_service", "set_friends", "__init__", "gone"]
)
async def test_unknown_event(pair: Pair, name: Name, event: str) -> None:
    async with connect_as(pair.first.url, name("alice")) as alice:
        await alice.send({"event": event, "id": "x"})
        await alice.until(lambda: len(alice.pushes) > 1)
        answer = alice.pushes[-1]
        assert answer["data"]["code"] == ("unknown_event" if event else "invalid_frame")
        await serves(alice)


@pytest.mark.parametrize(
    ("event", "data"),
    [("send_message", GOOD), ("get_sessions", {}), ("get_all_online_users", {"limit": 0})],
)
async def test_unauthenticated(pair: Pair, event: str, data: Any) -> None:
    async with connect(pair.first.url) as client:
        assert is_failure(await client.request(event, data), "unauthenticated")
        await serves(client)


async def test_too_large(small: GatewayProcess, name: Name) -> None:
    async with connect_as(small.url, name("alice")) as alice:
        for data in ({"message": "x" * 1000}, {"message": "", "metadata": {"x": "y" * 1000}}):
            request = {"recipientIds": [name("alice")], **data}
            assert is_failure(await alice.request("send_message", request), "too_large")
        await alice.message(name("alice"), "é" * 200)
        assert len((await alice.texts(1))[0]) == 200


async def test_too_many_recipients(small: GatewayProcess, name: Name) -> None:
    async with connect_as(small.url, name("alice")) as alice:
        six = [name(str(n)) for n in range(6)]
        assert is_failure(await alice.message(six, "hello"), "too_many_recipients")
        # Named twice is one.
        assert (await alice.message([*six[:5], *six[:5]], "hello"))["recipients"]["total"] == 5


async def test_frame_far_over_the_limit(small: GatewayProcess, name: Name) -> None:
    async with (
        connect_as(small.url, name("alice")) as alice,
        connect_as(small.url, name("bob")) as bob,
    ):
        await alice.send("x" * 1_000_000)
        assert await alice.closed() in (1009, 4413)
        await serves(bob)


async def test_failure_of_a_request_without_id_is_pushed(pair: Pair, name: Name) -> None:
    async with connect_as(pair.first.url, name("alice")) as alice:
        requests = {
            "unknown_event": {"event": "dance"},
            "invalid_payload": {"event": "send_message", "data": {}},
            "forbidden": {"event": "authenticate", "data": {"token": token(name("eve"))}},
        }
        for frame in requests.values():
            await alice.send(frame)
        errors = await alice.pushed("error", len(requests))
        assert [error["code"] for error in errors] == list(requests)
        assert all("id" not in push for push in alice.pushes)


async def test_a_request_without_id_is_carried_out(pair: Pair, name: Name) -> None:
    async with connect_as(pair.first.url, name("alice")) as alice:
        data = {"recipientIds": [name("alice")], "message": "no receipt wanted"}
        await alice.send({"event": "send_message", "data": data})
        assert await alice.texts(1) == ["no receipt wanted"]
        assert [frame["event"] for frame in alice.pushes] == ["connected", "message"]


@pytest.mark.parametrize("request_id", [0, -1, 2**53 - 1, "", "x" * 64, "ü"])
async def test_any_id_comes_back(pair: Pair, request_id: int | str) -> None:
    async with connect(pair.first.url) as client:
        await client.send({"event": "ping", "id": request_id})
        await client.until(lambda: bool(client.pushes))
        (frame,) = client.pushes
        assert list(frame) == ["event", "id", "data"]
        assert frame["id"] == request_id
