"""By what a Socket.IO client is known again."""

import time

import pytest
from redis.asyncio import Redis

from gateways.domain.recovery import Recoverable, Recoveries
from gateways.gateway import Gateway
from gateways.session import Identity
from gateways.store.keys import Keys


def recoverable(*, lifetime_seconds: float = 60) -> Recoverable:
    identity = Identity(
        "alice",
        time.time() + lifetime_seconds,
        email="a@b.c",
        device_info={"os": "any"},
        scope=frozenset({"presence:detailed"}),
    )
    return Recoverable(identity, "phone", "epoch", 7)


@pytest.fixture
def recoveries(gateway: Gateway) -> Recoveries:
    return gateway.recoveries


async def test_a_client_is_known_by_its_id_alone(recoveries: Recoveries) -> None:
    recovery_id = recoveries.new_id()
    assert await recoveries.find(recovery_id) is None
    await recoveries.keep(recovery_id, recoverable())
    found = await recoveries.find(recovery_id)
    assert found is not None
    assert found.identity.user_id == "alice"
    assert found.identity.scope == {"presence:detailed"}
    assert (found.device_id, found.epoch, found.seq) == ("phone", "epoch", 7)
    assert await recoveries.find(recoveries.new_id()) is None


async def test_it_is_known_as_long_as_its_token_lasts(
    gateway: Gateway, recoveries: Recoveries
) -> None:
    await recoveries.keep("lasting", recoverable(lifetime_seconds=60))
    await recoveries.keep("expired", recoverable(lifetime_seconds=-1))
    assert await recoveries.find("expired") is None
    async with Redis.from_url(gateway.config.redis_url) as redis:
        key = Keys(gateway.config.redis_prefix).recovery("lasting")
        assert 50_000 < await redis.pttl(key) <= 60_000


async def test_it_can_be_forgotten(recoveries: Recoveries) -> None:
    await recoveries.keep("x", recoverable())
    recoveries.forget("x")
    await recoveries.settle()
    assert await recoveries.find("x") is None
