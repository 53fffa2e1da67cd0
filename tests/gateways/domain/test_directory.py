"""Pages over everybody online, and who may see how much."""

import base64
import dataclasses
from contextlib import AsyncExitStack

import pytest
from msgspec import UNSET

from gateways.config import Config
from gateways.gateway import Gateway
from gateways.protocol.errors import InvalidPayload
from gateways.protocol.events import Page
from gateways.session import Identity
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import connect_as, until

ALICE = Identity("alice", 0.0)


async def listed(gateway: Gateway, count: int) -> None:
    """Arrivals are told to the directory in the background."""

    async def all_there() -> bool:
        return await gateway.directory._directory.total() == count

    await until(all_there)


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
async def test_pages_of_any_size_hold_everybody_once(gateway: Gateway, limit: int) -> None:
    users = [f"user{n}" for n in range(30)] + ["{", "😀", "a:b"]
    async with AsyncExitStack() as stack:
        for user_id in users:
            await stack.enter_async_context(connect_as(gateway, user_id))
        await listed(gateway, len(users))
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await gateway.directory.online(Page(limit, cursor))
            assert page.total == len(users)
            assert len(page.users) <= limit
            found += [user.user_id for user in page.users]
            assert all(user.status == "online" and user.last_seen for user in page.users)
            if page.next_cursor is UNSET:
                break
            assert isinstance(page.next_cursor, str)
            cursor = page.next_cursor
        assert sorted(found) == sorted(users)


async def test_who_is_not_online_by_now_is_left_out(gateway: Gateway) -> None:
    await gateway.directory._directory.write({"ghost": True})
    page = await gateway.directory.online(Page())
    assert page.users == []
    assert page.next_cursor is UNSET


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "!!!!"]
    + [
        base64.urlsafe_b64encode(text).decode()
        for text in (b"", b"x", b":", b"16:a", b"-1:a", b"1", b"\xff:", b"9" * 5000 + b":a")
    ],
)
async def test_a_cursor_that_is_none_is_refused(gateway: Gateway, cursor: str) -> None:
    with pytest.raises(InvalidPayload, match="cursor"):
        await gateway.directory.online(Page(10, cursor))


async def test_details_are_for_oneself_and_for_friends(gateway: Gateway) -> None:
    await gateway.friends.set("alice", ["friend"])
    async with (
        connect_as(gateway, "alice"),
        connect_as(gateway, "friend", claims={"email": "f@x"}),
        connect_as(gateway, "friend"),
        connect_as(gateway, "stranger", claims={"email": "s@x"}),
    ):
        await listed(gateway, 3)
        page = await gateway.directory.detailed(ALICE, Page())
        seen = {user.user_id: (user.email, user.session_count) for user in page.users}
        assert seen == {
            "alice": (None, 1),
            "friend": ("f@x", 2),
            "stranger": (UNSET, UNSET),
        }
        assert (page.total, page.next_cursor) == (3, UNSET)
        privileged = dataclasses.replace(ALICE, scope=frozenset({"presence:detailed"}))
        page = await gateway.directory.detailed(privileged, Page())
        assert {user.user_id: user.email for user in page.users}["stranger"] == "s@x"


async def test_details_may_be_opened_for_everyone(
    make_gateway: MakeGateway, config: Config
) -> None:
    gateway = await make_gateway(dataclasses.replace(config, detailed_presence_for_everyone=True))
    async with connect_as(gateway, "stranger", claims={"email": "s@x"}):
        await listed(gateway, 1)
        (user,) = (await gateway.directory.detailed(ALICE, Page())).users
        assert (user.email, user.session_count) == ("s@x", 1)
