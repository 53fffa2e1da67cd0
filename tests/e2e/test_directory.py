"""Everybody who is online, in pages."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.e2e.client import Client, connect_as, eventually
from tests.e2e.conftest import Deploy, Name
from tests.e2e.gateways import Deployment


@pytest.fixture(scope="module")
def closed(deploy: Deploy) -> Deployment:
    deployment = deploy()
    deployment.start_pair()
    return deployment


@asynccontextmanager
async def crowd(deployment: Deployment, user_ids: list[str]) -> AsyncIterator[Client]:
    """All are online, over both processes, and in the directory. Yields the first."""
    urls = [gateway.url for gateway in deployment.gateways]
    async with AsyncExitStack() as stack:
        clients = []
        for n, user_id in enumerate(user_ids):
            claims = {"email": f"{user_id}@example.com"}
            client = connect_as(urls[n % len(urls)], user_id, claims=claims)
            clients.append(await stack.enter_async_context(client))
        first = clients[0]

        async def are_listed() -> bool:
            page = await first.request("get_all_online_users", {"limit": 1})
            return bool(page["total"] == len(user_ids))

        await eventually(are_listed, "all to be listed")
        yield first

    async def nobody_is_listed() -> bool:
        with deployment.valkey.client() as redis:
            return not any(redis.zcard(deployment.keys.online(shard)) for shard in range(16))

    await eventually(nobody_is_listed, "all to be gone")


async def pages(client: Client, event: str, limit: int) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await client.request(event, {"limit": limit, **cursor})
        assert len(page["users"]) <= limit
        found.append(page["users"])
        if "nextCursor" not in page:
            return found
        cursor = {"cursor": page["nextCursor"]}


@pytest.mark.parametrize("limit", [1, 7, 40, 100, 101, 1000])
async def test_pages_hold_everybody_once(closed: Deployment, name: Name, limit: int) -> None:
    user_ids = [name(f"{n}:{{ü}}") for n in range(101 if limit > 1 else 20)]
    async with crowd(closed, user_ids) as client:
        for event in ("get_all_online_users", "get_detailed_online_users"):
            found = await pages(client, event, limit)
            assert sorted(u["userId"] for page in found for u in page) == sorted(user_ids)
            assert all(len(page) == limit for page in found[:-1])
            assert len(found) == -(-len(user_ids) // limit)


async def test_who_goes_meanwhile_moves_nobody_else(closed: Deployment, name: Name) -> None:
    async with crowd(closed, [name(f"stays{n}") for n in range(40)]) as client:
        urls = [gateway.url for gateway in closed.gateways]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            async with connect_as(urls[1], name(f"passes{len(seen)}")):
                page = await client.request("get_all_online_users", {"limit": 6, **cursor})
            seen += [user["userId"] for user in page["users"]]
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
        stays = [user_id for user_id in seen if user_id.startswith("stays")]
        assert sorted(stays) == sorted({name(f"stays{n}") for n in range(40)})


async def test_fields_and_default_limit(closed: Deployment, name: Name) -> None:
    async with crowd(closed, [name("alice"), name("bob")]) as alice:
        for data in (None, {}, {"limit": None}):
            answer = await alice.request("get_all_online_users", data)
            if data == {"limit": None}:
                assert answer["code"] == "invalid_payload"
                continue
            assert set(answer) == {"users", "total"}
            assert answer["total"] == 2
            assert all(set(user) == {"userId", "status", "lastSeen"} for user in answer["users"])
            assert {user["status"] for user in answer["users"]} == {"online"}
        detailed = await alice.request("get_detailed_online_users")
        assert set(detailed) == {"users", "total", "timestamp"}


async def detailed(client: Client) -> dict[str, tuple[str | None, int | None]]:
    """Who is seen with which e-mail and number of sessions."""
    answer = await client.request("get_detailed_online_users")
    return {u["userId"]: (u.get("email"), u.get("sessionCount")) for u in answer["users"]}


async def test_details_are_for_oneself_and_friends(closed: Deployment, name: Name) -> None:
    alice, bob, eve = map(name, ("alice", "bob", "eve"))
    closed.befriend(alice, bob)
    async with (
        crowd(closed, [alice, bob, eve]) as first,
        connect_as(closed.gateways[1].url, bob) as second_device,
    ):
        shown = await detailed(first)
        assert shown[alice] == (f"{alice}@example.com", 1)
        assert shown[bob] == (f"{bob}@example.com", 2)
        assert shown[eve] == (None, None)
        # Friendship has a direction: bob does not have alice on his list.
        assert (await detailed(second_device))[alice] == (None, None)
        claims = {"scope": "chat presence:detailed", "email": None}
        async with connect_as(closed.gateways[1].url, eve, claims=claims) as operator:
            shown = await detailed(operator)
            assert shown[alice] == (f"{alice}@example.com", 1)
            assert shown[eve] == (f"{eve}@example.com", 2)
        claims = {"scope": "presence:detailed:not"}
        async with connect_as(closed.gateways[1].url, eve, claims=claims) as nobody:
            assert (await detailed(nobody))[alice] == (None, None)


async def test_details_for_everyone_where_configured(deploy: Deploy, name: Name) -> None:
    deployment = deploy(DETAILED_PRESENCE="everyone", WEB_CONCURRENCY="2")
    deployment.start()
    async with crowd(deployment, [name("alice"), name("bob")]) as alice:
        assert (await detailed(alice))[name("bob")] == (f"{name('bob')}@example.com", 1)
