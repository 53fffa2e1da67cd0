"""The registry as gateways ask it: who gets in, what is registered, what is on record."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from gateways.domain.registry import Registry
from gateways.protocol.errors import (
    Conflict,
    InvalidPayload,
)
from gateways.session import ServiceIdentity
from services_registry import services
from services_registry.models import Service, ServiceEvent
from tests.gateways.domain.registries import HERE, WRONG, refusal, register
from tests.gateways.services import KEY, OPERATOR, on_thread

pytestmark = pytest.mark.usefixtures("services_database")


async def recorded(kind: ServiceEvent.Kind) -> list[tuple[str, str, str]]:
    events = await on_thread(lambda: list(ServiceEvent.objects.filter(kind=kind)))
    return sorted((event.service_name, event.address, event.detail) for event in events)


# --- who gets in ----------------------------------------------------------------------------------


async def test_the_right_key_says_who_it_is(herald: Service, registry: Registry) -> None:
    assert await registry.authenticate("herald", KEY, HERE) == ServiceIdentity(
        name="herald",
        type="news",
        description="of a test",
        metadata={"desk": 3},
        key_hash=herald.key_hash,
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [("herald", WRONG), ("nobody", KEY), ("Herald", KEY), ("\0", KEY), ("herald", "\0"), ("", "")],
)
async def test_whatever_is_wrong_the_words_are_the_same(
    herald: Service, registry: Registry, name: str, key: str
) -> None:
    sentence = "No service has this name and key."
    assert await refusal(registry, name, key) == (sentence, "unauthenticated", 4401)


@pytest.mark.parametrize(
    ("approval", "enabled", "why"),
    [
        ("pending", True, "The service waits for an operator's approval."),
        ("pending", False, "The service waits for an operator's approval."),
        ("rejected", True, "The service was rejected."),
        ("approved", False, "The service is disabled."),
    ],
)
async def test_who_is_not_admitted_is_told_why_where_the_key_is_right(
    herald: Service, registry: Registry, approval: str, enabled: bool, why: str
) -> None:
    herald.approval, herald.enabled = approval, enabled
    await on_thread(herald.save)
    assert await refusal(registry, "herald") == (why, "forbidden", 4403)
    assert (await refusal(registry, "herald", WRONG))[1:] == ("unauthenticated", 4401)


async def test_while_a_rotation_lasts_either_key_is_right_and_each_is_its_own(
    herald: Service, registry: Registry
) -> None:
    new_key = await on_thread(services.rotate_key, "herald", OPERATOR)
    old, new = [await registry.authenticate("herald", k, HERE) for k in (KEY, new_key)]
    assert await registry.current(old)
    await on_thread(services.drop_previous_key, "herald", OPERATOR)
    assert not await registry.current(old)
    assert await registry.current(new)


async def test_a_session_holds_until_its_service_is_shut_out(
    herald: Service, registry: Registry
) -> None:
    identity = await registry.authenticate("herald", KEY, HERE)
    for shut_out, let_in in ((services.disable, services.enable),) * 2:
        assert await registry.current(identity)
        await on_thread(shut_out, "herald", OPERATOR)
        assert not await registry.current(identity)
        await on_thread(let_in, "herald", OPERATOR)
    await on_thread(services.delete, "herald", OPERATOR)
    assert not await registry.current(identity)


async def test_that_it_was_here_is_noted(herald: Service, registry: Registry) -> None:
    await registry.note_authentication("herald")
    await registry.note_authentication("nobody")
    await on_thread(herald.refresh_from_db)
    assert herald.last_authenticated_at is not None


# --- what is registered ---------------------------------------------------------------------------


async def test_what_registers_gets_in(registry: Registry) -> None:
    service = await register(
        registry, "market", service_type="trade", description="d", metadata={"a": [1]}
    )
    assert (service.approval, service.origin) == ("approved", "registration")
    identity = await registry.authenticate("market", KEY, HERE)
    assert (identity.type, identity.description, identity.metadata) == ("trade", "d", {"a": [1]})
    assert await recorded(ServiceEvent.Kind.REGISTERED) == [("market", HERE, "")]


async def test_under_approval_it_waits(registry: Registry, settings: Settings) -> None:
    settings.REQUIRE_SERVICE_APPROVAL = True
    assert (await register(registry, "market")).approval == "pending"
    assert (await refusal(registry, "market"))[1:] == ("forbidden", 4403)
    assert await registry.services() == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "Market"}, "serviceName"),
        ({"name": "m" * 65}, "serviceName"),
        ({"key": "short"}, "serviceKey"),
        ({"service_type": ""}, "serviceType"),
        ({"description": "d" * 1001}, "description"),
        ({"metadata": {"a": "\0"}}, "metadata"),
    ],
)
async def test_what_does_not_fit_is_named_and_changes_nothing(
    registry: Registry, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidPayload, match=f"^{field}: "):
        await register(registry, **{"name": "market", **fields})
    assert await on_thread(Service.objects.count) == 0


async def test_a_name_is_taken_once_and_the_registry_has_an_end(
    herald: Service, registry: Registry, settings: Settings
) -> None:
    with pytest.raises(Conflict, match="herald"):
        await register(registry, "herald", WRONG)
    assert (await registry.authenticate("herald", KEY, HERE)).type == "news"
    settings.MAX_SERVICES = 1
    with pytest.raises(Conflict, match="no more fit"):
        await register(registry, "market")


async def test_the_approved_are_listed_by_name_and_all_types(
    herald: Service, registry: Registry, settings: Settings
) -> None:
    await register(registry, "bank", service_type="money")
    await on_thread(services.disable, "bank", OPERATOR)
    settings.REQUIRE_SERVICE_APPROVAL = True
    await register(registry, "adrift", service_type="money")
    listed = [(service.name, service.enabled) for service in await registry.services()]
    assert listed == [("bank", False), ("herald", True)]
    assert await registry.types() == ["money", "news"]


# --- what is on record ----------------------------------------------------------------------------


async def test_refusals_are_on_record_once_it_closes(herald: Service, registry: Registry) -> None:
    for name in ("herald", "herald", "ghost\n"):
        await refusal(registry, name, WRONG)
    await on_thread(services.disable, "herald", OPERATOR)
    await refusal(registry, "herald")
    assert await recorded(ServiceEvent.Kind.REFUSED) == []
    await registry.close()
    assert await recorded(ServiceEvent.Kind.REFUSED) == [
        ("ghost\\n", HERE, "1 times"),
        ("herald", HERE, "3 times"),
    ]


async def test_refusals_that_cannot_be_recorded_hold_nothing_up(
    herald: Service,
    registry: Registry,
    broken: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    await refusal(registry, "\x1b[31m", WRONG)
    broken()
    await registry.close()
    assert "refusals not recorded" in caplog.text
    assert "\x1b[31m" not in caplog.text
