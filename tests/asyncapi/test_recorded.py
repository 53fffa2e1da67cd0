"""All that both gateways say, recorded off real sockets: each frame is one of the document's
messages, and each of these is said. Every request is played well and badly.
"""

import asyncio
import copy
import time
from typing import Any

from tests.asyncapi.conftest import HERALD_KEY
from tests.asyncapi.contract import Contract
from tests.asyncapi.recorded import Recording
from tests.e2e.client import connect_as, connect_service, patiently, token
from tests.e2e.conftest import Name
from tests.e2e.gateways import Deployment, GatewayProcess

PLATFORM = {
    "CUSTOM_SERVICES": f"herald:{HERALD_KEY}:news:Tells everybody everything",
    "REQUIRE_SERVICE_APPROVAL": "true",
    # So that the eleventh question, and the fourth registration, is one too many.
    "LIMIT_PRESENCE_QUERIES": "10/600",
    "LIMIT_REGISTRATIONS": "3/600",
}
#: Only a defect brings it about.
NEVER = {"ref"}
BAD_FOR_USERS: dict[str, Any] = {
    "authenticate": {"token": 7},
    "ping": {"time": 1},
    "send_message": {"recipientIds": [], "message": "to nobody"},
    "get_online_users": {"limit": 1},
    "get_online_friends_only": ["bob"],
    "get_all_online_users": {"limit": 0},
    "get_detailed_online_users": {"cursor": 7},
    "get_sessions": {"userId": "bob"},
    "close_session": {},
}
BAD_FOR_SERVICES: dict[str, Any] = {
    "authenticate_service": {"serviceName": "herald"},
    "register_service": {"serviceName": "No Name", "serviceKey": HERALD_KEY, "serviceType": "x"},
    "ping": "pong",
    "send_message": {"recipientIds": "bob", "message": "to bob"},
    "broadcast": {"message": None},
    "list_services": {"all": True},
    "list_service_types": [],
    "set_friends": {"userId": "", "friendIds": []},
    "add_friends": {"userId": "alice", "friendIds": ["bob"], "mutual": "yes"},
    "remove_friends": {"userId": "alice", "friendIds": ["x" * 129]},
    "get_friends": {},
    "get_user_status": {"userIds": []},
    "disconnect_user": {"userId": "alice", "reason": "x" * 124},
}


async def test_what_users_hear(deployment: Deployment, name: Name) -> None:
    gateway = await asyncio.to_thread(deployment.start, "all", **PLATFORM)
    async with Recording(gateway.url, Contract("user")) as recording:
        await users_play(deployment, gateway, recording, name)
    all_is_kept(recording)


async def users_play(
    deployment: Deployment, gateway: GatewayProcess, recording: Recording, name: Name
) -> None:
    contract = recording.contract
    deployment.befriend(name("alice"), name("bob"))
    well: dict[str, Any] = {
        "authenticate": {
            "token": token(name("alice"), email="alice@example.org", deviceInfo={"os": "any"}),
            "deviceId": "phone",
            "resume": {"epoch": "another", "seq": 3},
        },
        "ping": None,
        "send_message": {
            "recipientIds": [name("alice"), name("bob"), name("nobody")],
            "message": "hello",
            "metadata": {"mood": "good"},
            "messageId": "the first",
        },
        "get_online_users": None,
        "get_online_friends_only": {},
        "get_all_online_users": {"limit": 1},
        "get_detailed_online_users": {"limit": 1000, "cursor": None},
        "get_sessions": None,
    }
    await is_unknown("broadcast", gateway.url, contract)
    guarded = contract.requests - {"authenticate", "ping"}
    stranger = await recording.dial()
    for event in guarded:
        data = well.get(event, {"sessionId": "any"})
        assert (await stranger.request(event, data))["code"] == "unauthenticated"
    assert (await stranger.request("authenticate", {"token": "none"}))["status"] == "error"
    assert await stranger.closed() == 4401

    alice, bob = await recording.dial(), await recording.dial()
    await alice.authenticate(name("alice"))
    await bob.authenticate(name("bob"))
    await alice.status_of(name("bob"), "online")
    phone = await recording.dial()
    answers = await recording.play(phone, well)
    well["close_session"] = {"sessionId": answers["authenticate"]["sessionId"]}
    await recording.play(alice, {"close_session": well["close_session"]})
    assert await phone.closed() == 4403
    assert set(well) == set(BAD_FOR_USERS) == contract.requests
    answers = await recording.play(alice, BAD_FOR_USERS)
    assert {answer.get("code") for answer in answers.values()} == {"invalid_payload"}

    for _ in range(11):
        answer = await bob.request("get_online_users")
    assert answer["code"] == "rate_limited"
    await alice.send({"event": "send_message", "data": {}})
    await alice.send("no frame at all")
    await alice.pushed("error", 2)
    async with connect_service(gateway.internal_url, "herald", HERALD_KEY) as herald:
        await herald.message(name("alice"), "from a service", metadata={"match": 1})
        await herald.request("broadcast", {"message": "to everybody"})
    await alice.texts(3)
    await bob.socket.close()
    await alice.status_of(name("bob"), "offline")

    warned = await recording.dial()
    await warned.authenticate(name("carol"), claims={"exp": _in_seconds(30)})
    await warned.pushed("token_expiring")
    late = await recording.dial()
    await late.authenticate(name("dave"), claims={"exp": _in_seconds(2)})
    await late.pushed("session_expired")
    assert await late.closed() == 4401
    gateway.terminate()
    await alice.pushed("server_shutdown")
    assert await alice.closed() == 1012


async def test_what_services_hear(deployment: Deployment, name: Name) -> None:
    gateway = await asyncio.to_thread(deployment.start, "all", **PLATFORM)
    async with Recording(gateway.internal_url, Contract("internal")) as recording:
        await services_play(deployment, gateway, recording, name)
    all_is_kept(recording)


async def services_play(
    deployment: Deployment, gateway: GatewayProcess, recording: Recording, name: Name
) -> None:
    contract = recording.contract

    async with connect_as(gateway.url, name("alice")) as alice:
        friends = {"userId": name("alice"), "friendIds": [name("bob")]}
        well: dict[str, Any] = {
            "authenticate_service": {"serviceName": "herald", "serviceKey": HERALD_KEY},
            "register_service": {
                "serviceName": name("market"),
                "serviceKey": HERALD_KEY,
                "serviceType": "trade",
                "description": "Buys and sells",
                "metadata": {"team": "trade"},
            },
            "ping": None,
            "send_message": {
                "recipientIds": [f" {name('alice')} ", name("bob")],
                "message": "hello",
                "metadata": {"match": 12},
                "messageId": "the first",
            },
            "broadcast": {"message": "to everybody", "metadata": {"match": 12}},
            "list_services": None,
            "list_service_types": {},
            "set_friends": friends,
            "add_friends": {**friends, "mutual": False},
            "remove_friends": friends,
            "get_friends": {"userId": name("alice")},
            "get_user_status": {"userIds": [name("alice"), name("nobody")]},
            "disconnect_user": {"userId": name("alice"), "sessionId": None, "reason": "Enough."},
        }
        assert set(well) == set(BAD_FOR_SERVICES) == contract.requests
        await is_unknown("authenticate", gateway.internal_url, contract)
        stranger = await recording.dial()
        for event in contract.requests - {"authenticate_service", "register_service", "ping"}:
            assert (await stranger.request(event, well[event]))["code"] == "unauthenticated"
        assert (await patiently(stranger, "herald", "a wrong key"))["status"] == "error"
        assert await stranger.closed() == 4401

        herald = await recording.dial()
        await herald.request("ping")
        await patiently(herald, "herald", HERALD_KEY)
        answers = await recording.play(herald, well)
        assert answers["register_service"]["approval"] == "pending"
        assert await alice.closed() == 4403
    answers = await recording.play(herald, BAD_FOR_SERVICES)
    assert {answer.get("code") for answer in answers.values()} == {"invalid_payload"}
    waiting = await recording.dial()
    assert (await patiently(waiting, name("market"), HERALD_KEY))["code"] == "forbidden"
    assert await waiting.closed() == 4403
    for code in ("conflict", "rate_limited"):
        answer = await herald.request("register_service", well["register_service"])
        assert answer["code"] == code
    await herald.send({"event": "broadcast", "data": {}})
    await herald.send(b"no text at all")
    await herald.pushed("error", 2)

    other = await asyncio.to_thread(
        deployment.start, "internal", **PLATFORM, SERVICE_SESSION_IDLE_TIMEOUT="1"
    )
    idle = await recording.dial(other.internal_url)
    await patiently(idle, "herald", HERALD_KEY)
    await idle.pushed("session_expired")
    assert await idle.closed() == 4408
    gateway.terminate()
    await herald.pushed("server_shutdown")
    assert await herald.closed() == 1012


def all_is_kept(recording: Recording) -> None:
    contract = recording.contract
    assert recording.breaches() == []
    assert recording.heard() == contract.replies | contract.pushes
    assert recording.answered(well=True) == contract.requests
    assert recording.answered(well=False) == contract.requests
    assert recording.misjudged() == []
    assert recording.unheard() == NEVER
    closes = {str(client.close_code) for client in recording.clients}
    assert closes <= set(contract.document["x-close-codes"])
    for frame in recording.frames:
        would_be_heard(contract, frame)


def would_be_heard(contract: Contract, frame: dict[str, Any]) -> None:
    """Nothing of a frame, and nothing beside it, escapes the contract."""
    more = copy.deepcopy(frame)
    more["data"]["surprise"] = 1
    assert contract.heard(more), frame
    assert contract.heard({**frame, "surprise": 1}), frame
    assert contract.heard({**frame, "event": "surprise"}), frame
    assert contract.heard({**frame, "data": {}}), frame


async def is_unknown(event: str, url: str, contract: Contract) -> None:
    """To the gateway, and to the document, too."""
    async with Recording(url, contract) as recording:
        client = await recording.dial()
        assert (await client.request(event))["code"] == "unknown_event"
        assert recording.breaches() == [f"unknown: {client.frames[0]}"]


def _in_seconds(seconds: int) -> int:
    return int(time.time()) + seconds
