"""Plain WebSocket clients and Socket.IO ones of every kind, in one room on two processes."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.client import connect_as, connect_service, token
from tests.e2e.conftest import Name, Pair
from tests.e2e.gateways import Deployment
from tests.socketio.clients import Node
from tests.socketio.conftest import HERALD_KEY
from tests.socketio.players import KINDS, players
from tests.valkey import Valkey

every_kind = pytest.mark.parametrize("kind", KINDS)
#: Differ from one request to the next, or say which session asks.
PASSING = {"timestamp", "lastSeen", "lastActivity", "connectedAt", "current", "messageId"}
#: What a player may ask, well and badly.
REQUESTS: list[tuple[str, Any]] = [
    ("ping", None),
    ("get_online_users", None),
    ("get_online_friends_only", None),
    ("get_all_online_users", {"limit": 1}),
    ("get_detailed_online_users", {"limit": 0}),
    ("send_message", {"recipientIds": ["nobody-of-this-test"], "message": "x"}),
    ("send_message", {"recipientIds": [], "message": "x"}),
    ("send_message", {"recipientIds": "one", "message": "x"}),
    ("send_message", {"recipientIds": ["one"], "message": "x", "more": 1}),
    ("send_message", None),
    ("close_session", {"sessionId": "of nobody"}),
    ("broadcast", {"message": "x"}),
    ("no such event", {}),
]


@pytest.fixture(scope="module")
def room(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Where a connection that is only lost leaves its user online for as long as any test lasts."""
    directory = tmp_path_factory.mktemp("room")
    deployment = Deployment(
        valkey,
        directory,
        DATABASE_URL=f"sqlite:///{directory}/db.sqlite3",
        CUSTOM_SERVICES=f"herald:{HERALD_KEY}:news:Tells everybody everything",
        OFFLINE_GRACE="600",
        RATE_LIMITS="off",
    )
    try:
        yield Pair(deployment, *deployment.start_pair("all"))
    finally:
        deployment.stop()


def lasting(data: Any) -> Any:
    """What of a reply is the same each time that one asks."""
    if isinstance(data, dict):
        return {key: ... if key in PASSING else lasting(value) for key, value in data.items()}
    return [lasting(each) for each in data] if isinstance(data, list) else data


async def test_everybody_hears_everybody(room: Pair, node: Node, name: Name) -> None:
    """Each message comes once, those of one sender in order, whatever either of them speaks."""
    places = {
        f"{kind}, {where}": (gateway, name(f"{kind}-{where}"))
        for kind in KINDS
        for where, gateway in (("first", room.first), ("second", room.second))
    }
    users = sorted(user_id for _, user_id in places.values())
    rounds = 5
    async with players(node, places) as everybody:

        async def speak(who: str) -> None:
            for number in range(rounds):
                data = {"recipientIds": users, "message": f"{who}: {number}"}
                receipt = await everybody[who].ask("send_message", data)
                assert sorted(receipt["recipients"]["sent"]) == users

        await asyncio.gather(*(speak(who) for who in everybody))
        for who, player in everybody.items():
            messages = await player.pushed("message", rounds * len(users))
            assert [message["seq"] for message in messages] == [
                number + 1 for number in range(rounds * len(users))
            ]
            assert {message["recipientId"] for message in messages} == {places[who][1]}
            for speaker, (_, user_id) in places.items():
                assert [
                    message["message"] for message in messages if message["senderId"] == user_id
                ] == [f"{speaker}: {number}" for number in range(rounds)]


async def test_all_sessions_of_a_user_are_told_the_same(room: Pair, node: Node, name: Name) -> None:
    """By players, friends and services; and to the last field what a plain one is told."""
    room.deployment.befriend(name("alice"), name("bob"))
    places = {
        kind: ([room.first, room.second][number % 2], name("alice"))
        for number, kind in enumerate(KINDS)
    }
    async with (
        players(node, places) as sessions,
        connect_service(room.first.internal_url, "herald", HERALD_KEY) as herald,
    ):
        async with connect_as(room.second.url, name("bob"), claims={"email": "b@x.y"}) as bob:
            metadata = {"room": "r", "deep": [{"n": 1.5}, None, True, "héllo \u2028 \x1e 👋"]}
            await bob.message(name("alice"), "from a player", metadata=metadata)
        await herald.message(name("alice"), "from a service", metadata=metadata)
        await herald.request("broadcast", {"message": "to everybody", "metadata": metadata})
        messages = await sessions["plain"].pushed("message", 3)
        updates = await sessions["plain"].pushed("user_status_update", 2)
        assert [update["status"] for update in updates] == ["online", "offline"]
        assert set(updates[0]) == {"userId", "status", "email", "lastSeen"}
        assert updates[0]["email"] == "b@x.y"
        fields = {"id", "recipientId", "senderId", "message", "metadata"}
        assert [set(message) - {"seq"} for message in messages] == [fields] * 3
        assert [message.get("seq") for message in messages] == [1, 2, None]
        assert all(message["metadata"]["deep"] == metadata["deep"] for message in messages)
        for session in sessions.values():
            assert await session.pushed("message", 3) == messages
            assert await session.pushed("user_status_update", 2) == updates


async def test_all_are_answered_the_same(room: Pair, node: Node, name: Name) -> None:
    """Replies and failures are, to the last field, what a plain client is answered."""
    room.deployment.befriend(name("alice"), name("bob"))
    places = {kind: (room.first, name("alice")) for kind in KINDS}
    async with connect_as(room.second.url, name("bob")), players(node, places) as sessions:
        for event, data in REQUESTS:
            expected = lasting(await sessions["plain"].ask(event, data))
            for kind, session in sessions.items():
                assert lasting(await session.ask(event, data)) == expected, (kind, event, data)


@every_kind
async def test_a_goodbye_is_seen_at_once(room: Pair, node: Node, name: Name, kind: str) -> None:
    """Ten minutes before a connection that is lost would be."""
    watcher_id = name("watcher")
    room.deployment.befriend(watcher_id, name("alice"))
    async with (
        connect_as(room.second.url, watcher_id) as watcher,
        players(node, {kind: (room.first, name("alice"))}) as players_,
    ):
        update = await watcher.status_of(name("alice"), "online")
        assert update["email"] == f"{name('alice')}@example.org"
        await players_[kind].goodbye()
        update = await watcher.status_of(name("alice"), "offline")
        assert update["email"] == f"{name('alice')}@example.org"


async def test_a_connection_that_is_lost_is_no_goodbye(room: Pair, node: Node, name: Name) -> None:
    """Who comes back was never away."""
    room.deployment.befriend(name("watcher"), name("alice"))
    async with connect_as(room.second.url, name("watcher")) as watcher:
        auth = {"token": token(name("alice"))}
        alice = node.open(f"http://127.0.0.1:{room.first.port}", auth=auth, reconnectionDelay=100)
        await alice.given("connected")
        await watcher.status_of(name("alice"), "online")
        alice.tell("drop")
        await alice.given("connected", 2)
        alice.tell("disconnect")
        await watcher.status_of(name("alice"), "offline")
        assert watcher.statuses_of(name("alice")) == ["online", "offline"]
