"""Stock JavaScript clients, as they are in the field, unchanged."""

from typing import Any

import pytest

from tests.e2e.client import connect_as, token
from tests.e2e.conftest import Deploy, Name, Pair
from tests.e2e.gateways import GatewayProcess
from tests.socketio.clients import JsClient, Node
from tests.socketio.conftest import HERALD_KEY

#: Each with the options that its users give.
CLIENTS: dict[str, dict[str, Any]] = {
    "current, as it comes": {},
    "current, WebSocket only": {"transports": ["websocket"]},
    "current, polling only": {"transports": ["polling"]},
    "4.0": {"library": "socket.io-client-4.0"},
    "3.0": {"library": "socket.io-client-3"},
    "3.0, polling only": {"library": "socket.io-client-3", "transports": ["polling"]},
}
every_client = pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS.keys())


def at(gateway: GatewayProcess) -> str:
    return f"http://127.0.0.1:{gateway.port}"


def inside(gateway: GatewayProcess) -> str:
    return f"http://127.0.0.1:{gateway.internal_port}"


async def authenticated(client: JsClient, user_id: str, **data: Any) -> Any:
    await client.once("connect")
    client.emit("authenticate", {"token": token(user_id, email=f"{user_id}@x.y"), **data})
    ((connected,),) = await client.given("connected")
    return connected


@every_client
async def test_the_old_services_flow_of_a_player(
    gateways: GatewayProcess, node: Node, name: Name, options: dict[str, Any]
) -> None:
    user_id = name("alice")
    client = node.open(at(gateways), **options)
    socket_id = (await client.once("connect"))["id"]
    connected = await authenticated(client, user_id)
    user = {"userId": user_id, "email": f"{user_id}@x.y", "socketId": socket_id}
    assert connected["user"] == user
    assert set(await client.ask("ping")) == {"timestamp"}
    assert await client.ask("get_online_users") == {"users": []}
    data = {"recipientIds": [user_id], "message": "héllo", "metadata": {"room": "r"}}
    receipt = await client.ask("send_message", data)
    assert (receipt["status"], receipt["recipients"]["sent"]) == ("sent", [user_id])
    ((message,),) = await client.given("message")
    assert message["recipientId"] == message["senderId"] == user_id
    assert (message["message"], message["seq"], message["id"]) == ("héllo", 1, receipt["messageId"])
    assert message["metadata"]["room"] == "r"
    client.emit("send_message", {"recipientIds": [], "message": "x"})
    ((failure,),) = await client.given("error")
    assert failure["code"] == "invalid_payload"


@every_client
async def test_a_bad_token_disconnects(
    gateways: GatewayProcess, node: Node, options: dict[str, Any]
) -> None:
    client = node.open(at(gateways), **options)
    await client.once("connect")
    client.emit("authenticate", {"token": "bad"})
    assert (await client.once("disconnect"))["reason"] == "io server disconnect"
    ((refusal,),) = client.seen("authentication_error")
    assert set(refusal) == {"code", "error"}
    assert client.happened[-1]["kind"] == "disconnect"


@every_client
async def test_a_token_in_the_handshake_authenticates(
    gateways: GatewayProcess, node: Node, name: Name, options: dict[str, Any]
) -> None:
    good = node.open(at(gateways), auth={"token": token(name("alice"))}, **options)
    ((connected,),) = await good.given("connected")
    assert connected["user"]["userId"] == name("alice")
    bad = node.open(at(gateways), auth={"token": "bad"}, **options)
    assert (await bad.once("disconnect"))["reason"] == "io server disconnect"
    assert len(bad.seen("authentication_error")) == 1


@every_client
async def test_another_namespace_is_a_connect_error(
    gateways: GatewayProcess, node: Node, options: dict[str, Any]
) -> None:
    client = node.open(f"{at(gateways)}/other", **options)
    assert (await client.once("connect_error"))["message"] == "Invalid namespace"


@every_client
async def test_the_old_services_flow_of_a_service(
    gateways: GatewayProcess, node: Node, name: Name, options: dict[str, Any]
) -> None:
    client = node.open(inside(gateways), **options)
    socket_id = (await client.once("connect"))["id"]
    registration = {
        "serviceName": name("registered"),
        "serviceKey": "a key of its own",
        "serviceType": "news",
        "description": "Tells",
    }
    answer = await client.ask("register_service", registration)
    assert (answer["status"], answer["service"]["name"]) == ("success", name("registered"))
    credentials = {"serviceName": "herald", "serviceKey": HERALD_KEY}
    client.emit("authenticate_service", credentials)
    ((authenticated_,),) = await client.given("service_authenticated")
    assert (authenticated_["serviceName"], authenticated_["socketId"]) == ("herald", socket_id)
    player = node.open(at(gateways), auth={"token": token(name("bob"))})
    await player.given("connected")
    receipt = await client.ask("send_message", {"recipientIds": [name("bob")], "message": "news"})
    assert receipt["recipients"]["sent"] == [name("bob")]
    ((message,),) = await player.given("message")
    assert (message["message"], message["senderId"]) == ("news", None)
    assert message["metadata"]["serviceName"] == "herald"
    stranger = node.open(inside(gateways), **options)
    await stranger.once("connect")
    stranger.emit("authenticate_service", credentials | {"serviceKey": "wrong"})
    assert (await stranger.once("disconnect"))["reason"] == "io server disconnect"
    ((refusal,),) = stranger.seen("authentication_error")
    assert refusal["error"]


async def test_a_client_as_it_comes_is_upgraded(
    gateways: GatewayProcess, node: Node, name: Name
) -> None:
    client = node.open(at(gateways))
    await authenticated(client, name("alice"))
    await client.until(
        # It may have been upgraded before it was connected.
        lambda: "websocket" in {what.get("transport") for what in client.happened},
        "the upgrade",
    )
    assert set(await client.ask("ping")) == {"timestamp"}
    assert client.of_kind("disconnect") == []


@every_client
async def test_friends_of_every_kind_see_each_other(
    pair: Pair, node: Node, name: Name, options: dict[str, Any]
) -> None:
    """Socket.IO and plain clients, on two processes."""
    pair.deployment.befriend(name("plain"), name("alice"))
    pair.deployment.befriend(name("alice"), name("plain"))
    async with connect_as(pair.second.url, name("plain")) as plain:
        alice = node.open(at(pair.first), auth={"token": token(name("alice"))}, **options)
        await plain.status_of(name("alice"), "online")
        await alice.given("connected")
        assert (await alice.ask("get_online_users"))["users"][0]["userId"] == name("plain")
        for number in range(5):
            data = {"recipientIds": [name("plain")], "message": f"{number}"}
            await alice.ask("send_message", data)
            await plain.message(name("alice"), f"{number}")
        assert await plain.texts(5) == ["0", "1", "2", "3", "4"]
        messages = await alice.given("message", 5)
        assert [[message["message"] for message in given] for given in messages] == [
            [f"{number}"] for number in range(5)
        ]
        alice.tell("disconnect")
        await plain.status_of(name("alice"), "offline")
    bob = node.open(at(pair.first), auth={"token": token(name("alice"))}, **options)
    await bob.given("connected")
    async with connect_as(pair.second.url, name("plain")):
        ((update,),) = await bob.given("user_status_update")
        assert (update["userId"], update["status"]) == (name("plain"), "online")


async def test_any_process_of_a_port_serves_any_client(
    deploy: Deploy, node: Node, name: Name
) -> None:
    """Each request of a polling session, and its upgrade, may come to another process."""
    gateway = deploy(WEB_CONCURRENCY="3").start()
    clients = [
        node.open(at(gateway), auth={"token": token(name(f"u{number}"))}, **options)
        for number in range(20)
        for options in [
            CLIENTS["current, as it comes"] if number % 2 else CLIENTS["current, polling only"]
        ]
    ]
    users = [name(f"u{number}") for number in range(20)]
    for client in clients:
        await client.given("connected")
    for client in clients:
        receipt = await client.ask("send_message", {"recipientIds": users, "message": "x" * 50_000})
        assert sorted(receipt["recipients"]["sent"]) == sorted(users)
    for client in clients:
        messages = await client.given("message", 20)
        assert [message["seq"] for (message,) in messages] == list(range(1, 21))
        assert client.of_kind("disconnect") == []
