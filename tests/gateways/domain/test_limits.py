"""What one socket, one user and one address may take: so much at once, the rest in time."""

import asyncio
import time

import pytest

from gateways.domain import limits
from gateways.domain.limits import MAX_REFUSED, PORTIONS, Allowances, Bucket, Door, Pace
from gateways.gateway import Gateway
from gateways.protocol.errors import CloseCode, RateLimited
from gateways.store.errors import StoreUnavailable
from gateways.store.limits import LimitStore, Rate
from tests.conftest import MakeGateway

#: So slow that no token comes back while a test runs.
SLOW = Rate(4, 3600)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def store_of(gateway: Gateway) -> LimitStore:
    return gateway.delivery._allowances._store


# --- buckets --------------------------------------------------------------------------------------


def test_a_bucket_gives_what_it_holds_and_then_one_by_one(clock: Clock) -> None:
    bucket = Bucket(Rate(4, 8))
    assert [bucket.take() for _ in range(4)] == [0.0] * 4
    assert bucket.take() == bucket.wait() == pytest.approx(2.0)
    clock.now += 1.5
    assert bucket.take() == pytest.approx(0.5)  # asking in vain costs nothing
    clock.now += 0.5
    assert bucket.take() == 0.0
    clock.now += 100
    assert bucket.take(4) == 0.0  # and it holds no more than it holds
    assert bucket.take() > 0


@pytest.mark.parametrize("rate", [Rate(1, 3600), Rate(3, 7), Rate(30, 10), Rate(300, 0.7)])
def test_a_bucket_gives_its_last_token_whatever_the_clock_says(clock: Clock, rate: Rate) -> None:
    for number in range(300):
        clock.now = 1000 + number * 1234.567891
        bucket = Bucket(rate)
        for _ in range(rate.count):
            assert (bucket.wait(), bucket.take()) == (0.0, 0.0)
        assert bucket.take() > 0


def test_what_is_larger_than_a_bucket_takes_a_full_one(clock: Clock) -> None:
    bucket = Bucket(Rate(4, 8))
    assert bucket.take(100) == 0.0
    assert bucket.take(100) == pytest.approx(8.0)
    clock.now += 8
    assert bucket.take(100) == 0.0


# --- a socket -------------------------------------------------------------------------------------


def test_frames_and_bytes_are_counted_each(clock: Clock) -> None:
    pace = Pace(Rate(3, 3), Rate(1000, 10))
    assert [pace.take(10) for _ in range(3)] == [None] * 3
    too_many = pace.take(10)
    assert too_many is not None
    assert 900 < (too_many.retry_after_ms or 0) <= 1001
    clock.now += 3
    assert pace.take(1000) is None
    too_large = pace.take(10)
    assert too_large is not None
    assert (too_large.retry_after_ms or 0) <= 101
    assert Pace(None, None).take(10**9) is None


def test_who_goes_on_and_on_is_an_abuser_and_who_waits_is_none(clock: Clock) -> None:
    pace = Pace(Rate(1, 1), None)
    for _ in range(3):
        assert pace.take(1) is None
        for _ in range(MAX_REFUSED - 1):
            assert pace.take(1) is not None
        assert not pace.abused
        clock.now += 1
    assert pace.take(1) is None
    for _ in range(MAX_REFUSED):
        pace.take(1)
    assert pace.abused


# --- a user ---------------------------------------------------------------------------------------


async def test_a_users_messages_are_counted_on_all_nodes_together(
    make_gateway: MakeGateway,
) -> None:
    rate = Rate(100, 3600)
    nodes = [
        Allowances(store_of(await make_gateway()), messages=rate, recipients=None) for _ in range(3)
    ]
    sent = 0
    with pytest.raises(RateLimited, match="messages") as refused:  # noqa: PT012
        while True:
            for node in nodes:
                await node.spend("alice", 1)
                sent += 1
    # What one node drew and did not spend is what the others went without.
    assert 100 - 2 * (100 // PORTIONS) <= sent <= 100
    assert 0 < (refused.value.retry_after_ms or 0) <= 3600_000 / 100 * (100 // PORTIONS) + 1
    await nodes[0].spend("bob", 1)


async def test_recipients_are_counted_each(gateway: Gateway) -> None:
    allowances = Allowances(store_of(gateway), messages=None, recipients=Rate(100, 3600))
    await allowances.spend("alice", 60)
    with pytest.raises(RateLimited, match="recipients"):
        await allowances.spend("alice", 60)
    await allowances.spend("alice", 40)
    # More than there ever are take all there are.
    await allowances.spend("bob", 1000)
    with pytest.raises(RateLimited):
        await allowances.spend("bob", 1)


async def test_most_messages_ask_nobody(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = store_of(gateway), 0
    real = store.take

    async def take(*arguments: object) -> int:
        nonlocal asked
        asked += 1
        return await real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "take", take)
    allowances = Allowances(store, messages=Rate(1000, 3600), recipients=Rate(1000, 3600))
    for _ in range(500):
        await allowances.spend("alice", 1)
    assert asked == 2 * 500 // (1000 // PORTIONS)


async def test_what_is_drawn_is_spent_without_asking(gateway: Gateway) -> None:
    allowances = Allowances(store_of(gateway), messages=None, recipients=Rate(100, 3600))
    assert not allowances.spend_drawn("alice", 3), "nothing is drawn"
    await allowances.spend("alice", 1)  # draws 5
    assert not allowances.spend_drawn("alice", 5), "4 are left"
    assert allowances.spend_drawn("alice", 3)
    assert allowances.spend_drawn("alice", 1)
    assert not allowances.spend_drawn("alice", 1)
    await allowances.spend("alice", 95)
    with pytest.raises(RateLimited):
        await allowances.spend("alice", 1)
    assert not allowances.spend_drawn("alice", 1)


async def test_without_limits_there_is_always_enough(gateway: Gateway) -> None:
    allowances = Allowances(store_of(gateway), messages=None, recipients=None)
    assert all(allowances.spend_drawn("alice", 10**6) for _ in range(1000))


async def test_without_the_store_nothing_is_spent(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> int:
        raise StoreUnavailable

    allowances = Allowances(store_of(gateway), messages=SLOW, recipients=None)
    with monkeypatch.context() as patch:
        patch.setattr(store_of(gateway), "take", fail)
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await allowances.spend("alice", 1)
    await asyncio.gather(*[allowances.spend("alice", 1) for _ in range(SLOW.count)])
    with pytest.raises(RateLimited):
        await allowances.spend("alice", 1)


async def test_those_who_were_silent_longest_are_forgotten_first(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_KNOWN", 3)
    allowances = Allowances(store_of(gateway), messages=SLOW, recipients=None)
    for user_id in ("a", "b", "c", "a", "d"):
        await allowances.spend(user_id, 1)
    assert list(allowances._left) == ["c", "a", "d"]


# --- addresses ------------------------------------------------------------------------------------


def door(**limits: Rate | int | None) -> Door:
    nothing: dict[str, Rate | int | None] = {
        "connections": None,
        "at_once": 0,
        "failed_tokens": None,
        "admissions": None,
    }
    return Door(**{**nothing, **limits})  # type: ignore[arg-type]


def test_an_address_has_so_many_connections_at_once(clock: Clock) -> None:
    house = door(at_once=2)
    assert [house.enter("10.0.0.1") is None for _ in range(3)] == [True, True, False]
    assert house.enter("10.0.0.2") is None
    for _ in range(2):  # the refused one leaves, too
        house.leave("10.0.0.1")
    assert house.enter("10.0.0.1") is None
    house.leave("10.0.0.2")
    for _ in range(2):
        house.leave("10.0.0.1")
    assert house._open == {}


def test_an_address_opens_connections_at_a_rate(clock: Clock) -> None:
    house = door(connections=Rate(2, 4))
    assert [house.enter("10.0.0.1") is None for _ in range(3)] == [True, True, False]
    assert house.enter("10.0.0.2") is None
    clock.now += 2
    assert house.enter("10.0.0.1") is None


def test_after_too_many_bad_tokens_an_address_waits(clock: Clock) -> None:
    house = door(failed_tokens=Rate(3, 30))
    for _ in range(3):
        assert house.enter("10.0.0.1") is None
        house.note_failure("10.0.0.1")
    house.note_failure("10.0.0.1")  # of a socket that was open already
    refusal = house.enter("10.0.0.1")
    assert refusal is not None
    assert refusal.retry_after_ms == 10_001
    assert house.enter("10.0.0.2") is None
    clock.now += 10
    assert house.enter("10.0.0.1") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("unknown", "10.0.0.1", False),
        ("unknown", "unknown", True),
    ],
)
def test_who_is_one_peer(one: str, other: str, same: bool) -> None:
    house = door(at_once=1)
    assert house.enter(one) is None
    assert (house.enter(other) is not None) == same


def test_without_an_address_there_is_no_limit() -> None:
    house = door(at_once=1, connections=Rate(1, 60), failed_tokens=Rate(1, 60))
    for _ in range(3):
        house.note_failure("")
        assert house.enter("") is None


def test_all_together_are_admitted_at_a_rate(clock: Clock) -> None:
    house = door(admissions=Rate(2, 1))
    house.admit()
    house.admit()
    with pytest.raises(RateLimited) as refused:
        house.admit()
    assert refused.value.close_code == CloseCode.UNAVAILABLE
    assert refused.value.retry_after_ms == 501
    clock.now += 0.5
    house.admit()


def test_judging_is_cheap() -> None:
    """A frame is judged in microseconds; what it guards takes tens of them."""
    pace = Pace(Rate(10**6, 1), Rate(10**9, 1))
    began = time.process_time()
    for _ in range(20_000):
        pace.take(100)
    assert (time.process_time() - began) / 20_000 < 20e-6
