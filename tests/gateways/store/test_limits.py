"""Token buckets on a real server: so many at once, one more at a time, whoever asks and where."""

import asyncio
import secrets
import time

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from redis.asyncio import Redis

from gateways.store.batcher import Batcher
from gateways.store.connection import connect
from gateways.store.keys import Keys
from gateways.store.limits import LimitStore, Rate
from gateways.store.place import Place
from tests.gateways.consumers.client import until
from tests.valkey import Valkey

#: So slow that no token comes back while a test runs.
SLOW = Rate(4, 3600)
QUICK = Rate(2, 0.1)


@pytest.fixture
def limits(batcher: Batcher, keys: Keys) -> LimitStore:
    return LimitStore(batcher, keys)


async def test_a_bucket_gives_what_it_holds_and_then_says_when_there_is_more(
    limits: LimitStore,
) -> None:
    assert [await limits.take("x", "::1", SLOW) for _ in range(4)] == [0] * 4
    waits_ms = [await limits.take("x", "::1", SLOW) for _ in range(3)]
    # A quarter of the hour; and a refusal takes nothing, so nobody makes it longer by asking.
    assert all(890_000 < wait_ms <= 900_000 for wait_ms in waits_ms)
    assert waits_ms == sorted(waits_ms, reverse=True)


@pytest.mark.parametrize("count", [19, 38, 61, 290, 310, 1210, 4540])
@pytest.mark.parametrize("seconds", [1, 10])
async def test_a_full_bucket_gives_all_it_holds_at_once(
    limits: LimitStore, count: int, seconds: int
) -> None:
    assert await limits.take("x", "a", Rate(count, seconds), count) == 0


async def test_a_token_comes_back_when_it_was_said_to(limits: LimitStore) -> None:
    began = time.monotonic()
    while not (wait_ms := await limits.take("x", "a", QUICK)):
        pass
    assert 0 < wait_ms <= 50
    asked = time.monotonic()

    async def there_is_one() -> bool:
        return await limits.take("x", "a", QUICK) == 0

    await until(there_is_one)
    # The store counts whole milliseconds.
    assert time.monotonic() - began >= 0.045
    assert time.monotonic() - asked >= (wait_ms - 2) / 1000


async def test_a_bucket_that_is_full_again_is_forgotten(
    limits: LimitStore, redis: "Redis", keys: Keys
) -> None:
    key = keys.limit("x", "a")
    await limits.take("x", "a", SLOW)
    assert 0 < await redis.pttl(key) <= 900_000
    await limits.put_back("x", "a", SLOW)
    assert not await redis.exists(key)
    await limits.take("x", "b", QUICK)

    async def forgotten() -> bool:
        return not await redis.exists(keys.limit("x", "b"))

    await until(forgotten)


async def test_names_and_subjects_have_buckets_of_their_own(limits: LimitStore) -> None:
    one = Rate(1, 3600)
    for name, subject in (("x", "a"), ("y", "a"), ("x", "b"), ("x", ""), ("x", "fe80::1%eth0")):
        assert await limits.take(name, subject, one) == 0
        assert await limits.take(name, subject, one) > 0


async def test_however_many_ask_at_once_no_more_than_it_holds_get_one(
    valkey: Valkey, keys: Keys
) -> None:
    batchers = [
        Batcher(connect(Place.of(valkey.url), timeout_seconds=5), timeout_seconds=5) for _ in "ab"
    ]
    nodes = [LimitStore(batcher, keys) for batcher in batchers]
    waits_ms = await asyncio.gather(*(nodes[n % 2].take("x", "a", SLOW) for n in range(40)))
    assert waits_ms.count(0) == SLOW.count
    for batcher in batchers:
        await batcher.close()


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.sampled_from(["take", "take", "put back"]), max_size=20))
async def test_what_is_put_back_may_be_taken_again_and_never_more(
    valkey: Valkey, steps: list[str]
) -> None:
    batcher = Batcher(connect(Place.of(valkey.url), timeout_seconds=5), timeout_seconds=5)
    limits = LimitStore(batcher, Keys(f"test-{secrets.token_hex(6)}:"))
    left = SLOW.count
    for step in steps:
        if step == "take":
            assert (await limits.take("x", "a", SLOW) == 0) == (left > 0)
            left = max(0, left - 1)
        else:
            await limits.put_back("x", "a", SLOW)
            left = min(SLOW.count, left + 1)
    await batcher.close()
