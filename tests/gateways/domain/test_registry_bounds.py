"""The registry under siege: how often one may try, and what holds whom up."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateways.domain import registry as module
from gateways.domain.registry import Registry
from gateways.protocol.errors import (
    AuthenticationFailed,
    InvalidPayload,
    RateLimited,
    Unavailable,
)
from gateways.session import ServiceIdentity
from gateways.store.errors import StoreUnavailable
from gateways.store.limits import Rate
from services_registry.models import Service
from tests.gateways.consumers.client import until
from tests.gateways.domain.conftest import MakeRegistry
from tests.gateways.domain.registries import HERE, THERE, WRONG, refusal, register
from tests.gateways.services import KEY, Held, on_thread

pytestmark = pytest.mark.usefixtures("services_database")


# --- how often one may try ------------------------------------------------------------------------


async def test_an_address_that_failed_too_often_waits(
    herald: Service, make_registry: MakeRegistry
) -> None:
    registry = await make_registry(failed_authentications=Rate(3, 3600))
    for name, key in (("herald", WRONG), ("nobody", KEY), ("herald", WRONG)):
        await refusal(registry, name, key)
    with pytest.raises(RateLimited) as caught:
        await registry.authenticate("herald", KEY, HERE)
    assert 0 < (caught.value.retry_after_ms or 0) <= 1_200_000
    assert (await registry.authenticate("herald", KEY, THERE)).name == "herald"


async def test_who_gets_in_may_come_as_often_as_it_likes(
    herald: Service, make_registry: MakeRegistry
) -> None:
    registry = await make_registry(failed_authentications=Rate(1, 3600))
    for _ in range(5):
        await registry.authenticate("herald", KEY, HERE)
    await refusal(registry, "herald", WRONG)


@pytest.mark.parametrize(
    ("approval", "enabled"), [("pending", True), ("rejected", True), ("approved", False)]
)
async def test_who_waits_with_the_right_key_uses_up_nothing_of_its_address(
    herald: Service, make_registry: MakeRegistry, approval: str, enabled: bool
) -> None:
    registry = await make_registry(failed_authentications=Rate(1, 3600))
    herald.approval, herald.enabled = approval, enabled
    await on_thread(herald.save)
    for _ in range(3):
        assert (await refusal(registry, "herald"))[1] == "forbidden"
    assert (await refusal(registry, "herald", WRONG))[1] == "unauthenticated"
    with pytest.raises(RateLimited):
        await registry.authenticate("herald", KEY, HERE)


async def test_an_address_of_ipv6_is_its_64(herald: Service, make_registry: MakeRegistry) -> None:
    one, same, another = "2001:db8::1", "2001:db8::2:3:4:5", "2001:db8:0:1::1"
    registry = await make_registry(
        failed_authentications=Rate(1, 3600), registrations=Rate(1, 3600)
    )
    with pytest.raises(AuthenticationFailed):
        await registry.authenticate("herald", WRONG, one)
    await register(registry, "one", address=one)
    with pytest.raises(RateLimited):
        await registry.authenticate("herald", KEY, same)
    with pytest.raises(RateLimited):
        await register(registry, "two", address=same)
    await registry.authenticate("herald", KEY, another)
    await registry.authenticate("herald", KEY, another)  # which put back what it took
    await register(registry, "two", address=another)


async def test_nobody_pays_for_a_database_that_is_away(
    make_registry: MakeRegistry, broken: Callable[[], None]
) -> None:
    registry = await make_registry(failed_authentications=Rate(1, 3600))
    broken()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await registry.authenticate("herald", KEY, HERE)


async def test_guesses_that_come_at_once_are_counted_before_they_are_looked_at(
    herald: Service, make_registry: MakeRegistry
) -> None:
    registry = await make_registry(failed_authentications=Rate(3, 3600))
    answers = await asyncio.gather(
        *(registry.authenticate("herald", f"{WRONG} {n}", HERE) for n in range(20)),
        return_exceptions=True,
    )
    kinds = [type(answer) for answer in answers]
    assert (kinds.count(AuthenticationFailed), kinds.count(RateLimited)) == (3, 17)


async def test_an_address_that_registers_too_often_waits(make_registry: MakeRegistry) -> None:
    registry = await make_registry(registrations=Rate(2, 3600))
    await register(registry, "one")
    with pytest.raises(InvalidPayload):
        await register(registry, "Two")  # one that fails counts too
    with pytest.raises(RateLimited) as caught:
        await register(registry, "three")
    assert (caught.value.retry_after_ms or 0) > 0
    await register(registry, "three", address=THERE)


async def test_without_a_limit_there_is_none(herald: Service, make_registry: MakeRegistry) -> None:
    registry = await make_registry(failed_authentications=None, registrations=None)
    for number in range(30):
        await refusal(registry, "herald", WRONG)
        await register(registry, f"service{number}")


# --- what holds whom up ---------------------------------------------------------------------------


async def test_sessions_that_come_at_once_share_one_check(
    herald: Service, registry: Registry, held: Held
) -> None:
    comers = [asyncio.create_task(registry.authenticate("herald", KEY, HERE)) for _ in range(10)]
    await until(lambda: held.begun == 1)
    comers[0].cancel()  # whoever began it may go
    held.go.set()
    first, *others = await asyncio.gather(*comers, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert all(isinstance(other, ServiceIdentity) for other in others)
    assert held.begun == 1
    await registry.authenticate("herald", KEY, HERE)
    assert held.begun == 2


async def test_no_number_of_keys_delays_the_news_that_a_service_is_disabled(
    herald: Service, make_registry: MakeRegistry, held: Held
) -> None:
    registry = await make_registry(failed_authentications=None)
    held.go.set()
    identity = await registry.authenticate("herald", KEY, HERE)
    held.go.clear()
    guesses = [
        asyncio.create_task(registry.authenticate("herald", f"{WRONG} {n}", HERE))
        for n in range(module.MAX_WAITING)
    ]
    await until(lambda: held.begun == 1 + module.KEY_THREADS)
    assert await registry.current(identity)
    with pytest.raises(Unavailable, match="Too many keys"):
        await registry.authenticate("herald", KEY, HERE)
    held.go.set()
    await asyncio.gather(*guesses, return_exceptions=True)
    assert await registry.authenticate("herald", KEY, HERE) == identity


async def test_a_check_that_takes_too_long_is_given_up(
    herald: Service, make_registry: MakeRegistry, held: Held
) -> None:
    registry = await make_registry(auth_timeout_seconds=0.05)
    with pytest.raises(Unavailable):
        await registry.authenticate("herald", KEY, HERE)
    held.go.set()


async def test_a_database_that_is_away_is_unavailable_and_says_no_more(
    herald: Service,
    registry: Registry,
    broken: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    identity = await registry.authenticate("herald", KEY, HERE)
    broken()
    for ask in (
        registry.authenticate("herald", KEY, HERE),
        registry.current(identity),
        registry.services(),
        registry.types(),
        register(registry, "other"),
    ):
        with pytest.raises(Unavailable) as caught:
            await ask
        assert "10.0.0.9" not in str(caught.value)
    await registry.note_authentication("herald")
    assert "authentication not noted" in caplog.text


async def test_without_the_store_nobody_guesses(
    herald: Service, registry: Registry, monkeypatch: pytest.MonkeyPatch, held: Held
) -> None:
    async def fail(*_: Any) -> int:
        raise StoreUnavailable

    monkeypatch.setattr(registry._limits, "take", fail)
    with pytest.raises(StoreUnavailable):
        await registry.authenticate("herald", KEY, HERE)
    assert held.begun == 0
