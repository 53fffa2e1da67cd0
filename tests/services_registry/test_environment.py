"""CUSTOM_SERVICES at boot. Each call of `boot` is one start of a deployment."""

import time
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from gateways.management.commands import serve
from scarfall.embedded import CannotStart
from scarfall.values import CustomService
from services_registry import environment, selectors, services
from services_registry.errors import InvalidService
from services_registry.models import Service, ServiceEvent
from services_registry.services import Actor
from tests.services_registry.conftest import at_once

OPERATOR = Actor("olga")
BILLING = CustomService("billing", "environment-key", "payments", "Bills players")
REKEYED = CustomService("billing", "another-environment-key", "payments", "Bills players")


@pytest.fixture
def deployment(registry: None, settings: Settings) -> Settings:
    settings.CUSTOM_SERVICES = ()
    settings.DEBUG = False
    return settings


def boot(deployment: Settings, *given: CustomService, **variables: Any) -> None:
    deployment.CUSTOM_SERVICES = given
    for name, value in variables.items():
        setattr(deployment, name, value)
    environment.synchronise()


def lets_in(key: str, name: str = "billing") -> bool:
    return selectors.find_by_credentials(name, key) is not None


def kinds() -> list[str]:
    return list(ServiceEvent.objects.order_by("pk").values_list("kind", flat=True))


def test_a_service_is_brought_in_once(deployment: Settings) -> None:
    for _ in range(3):
        boot(deployment, BILLING)
    service = selectors.get("billing")
    assert (service.type, service.description) == ("payments", "Bills players")
    assert service.origin == Service.Origin.ENVIRONMENT
    assert service.admitted
    assert lets_in(BILLING.key)
    assert kinds() == ["registered"]


def test_neither_limit_nor_types_nor_approval_hold_it(deployment: Settings) -> None:
    boot(
        deployment,
        CustomService("old", "short", "legacy"),
        MAX_SERVICES=0,
        ALLOWED_SERVICE_TYPES=("game",),
        REQUIRE_SERVICE_APPROVAL=True,
    )
    assert selectors.get("old").admitted
    assert lets_in("short", "old")


def test_what_operators_decided_stands(deployment: Settings) -> None:
    boot(deployment, BILLING)
    services.disable("billing", OPERATOR)
    services.reject("billing", OPERATOR)
    services.edit("billing", OPERATOR, service_type="x", description="y", metadata={"z": 1})
    boot(deployment, BILLING)
    boot(deployment, REKEYED)
    service = selectors.get("billing")
    assert not service.enabled
    assert service.approval == Service.Approval.REJECTED
    assert (service.type, service.description, service.metadata) == ("x", "y", {"z": 1})


def test_a_changed_key_takes_effect_and_the_one_before_is_dead(deployment: Settings) -> None:
    boot(deployment, BILLING)
    boot(deployment, REKEYED)
    assert lets_in(REKEYED.key)
    assert not lets_in(BILLING.key)
    assert kinds() == ["registered", "key changed"]
    boot(deployment, BILLING)
    assert lets_in(BILLING.key)
    assert not lets_in(REKEYED.key)


def test_a_rotation_by_an_operator_outlives_a_boot_until_the_environment_changes(
    deployment: Settings,
) -> None:
    """A key that leaked and was taken out of service does not come back with the next boot."""
    boot(deployment, BILLING)
    rotated = services.rotate_key("billing", OPERATOR)
    services.drop_previous_key("billing", OPERATOR)
    boot(deployment, BILLING)
    assert lets_in(rotated)
    assert not lets_in(BILLING.key)
    boot(deployment, REKEYED)
    assert lets_in(REKEYED.key)
    assert not lets_in(rotated)


def test_another_secret_key_is_no_change(deployment: Settings) -> None:
    boot(deployment, BILLING)
    rotated = services.rotate_key("billing", OPERATOR)
    before = kinds()
    digest = selectors.get("billing").environment_digest
    boot(deployment, BILLING, SECRET_KEY="another")
    assert kinds() == before
    assert selectors.get("billing").environment_digest != digest
    assert lets_in(BILLING.key)
    assert lets_in(rotated)


def test_one_that_the_environment_names_no_longer_stays(deployment: Settings) -> None:
    boot(deployment, BILLING)
    boot(deployment)
    assert lets_in(BILLING.key)


def test_one_that_waited_for_approval_is_vouched_for(deployment: Settings) -> None:
    deployment.REQUIRE_SERVICE_APPROVAL = True
    services.register(
        "billing",
        "key-of-whoever-came-first",
        service_type="payments",
        origin=Service.Origin.REGISTRATION,
        actor=Actor("billing"),
    )
    boot(deployment, BILLING)
    service = selectors.get("billing")
    assert service.admitted
    assert service.origin == Service.Origin.REGISTRATION
    assert lets_in(BILLING.key)
    assert not lets_in("key-of-whoever-came-first")
    assert kinds() == ["registered", "key changed", "approved"]


def test_one_that_can_not_be_is_named(deployment: Settings) -> None:
    with pytest.raises(InvalidService, match="serviceType"):
        boot(deployment, CustomService("billing", "k", "x" * 65))


def test_several_processes_boot_at_once(deployment: Settings) -> None:
    deployment.CUSTOM_SERVICES = (BILLING, CustomService("mailer", "key-of-mailer", "mail"))
    assert at_once(*[environment.synchronise] * 4) == [None] * 4
    assert lets_in(BILLING.key)
    assert lets_in("key-of-mailer", "mailer")
    assert kinds() == ["registered", "registered"]
    deployment.CUSTOM_SERVICES = (REKEYED,)
    assert at_once(*[environment.synchronise] * 4) == [None] * 4
    assert lets_in(REKEYED.key)
    assert kinds() == ["registered", "registered", "key changed"]


def test_a_boot_that_changes_nothing_hashes_nothing(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [CustomService(f"service-{n}", f"key-of-{n}", "game") for n in range(50)]
    boot(deployment, *given)

    def fail(*_args: object) -> str:
        raise AssertionError("hashed slowly")

    monkeypatch.setattr("services_registry.keys.make_password", fail)
    monkeypatch.setattr("services_registry.keys.check_password", fail)
    start = time.thread_time()
    boot(deployment, *given)
    assert time.thread_time() - start < 0.5


def test_serve_brings_them_in_and_names_what_can_not_be(deployment: Settings) -> None:
    deployment.CUSTOM_SERVICES = (BILLING,)
    serve.Command()._prepare()
    assert lets_in(BILLING.key)
    deployment.CUSTOM_SERVICES = (CustomService("demo", environment.DEMO_KEY, "demo"),)
    with pytest.raises(CannotStart, match="CUSTOM_SERVICES: demo: everybody knows"):
        serve.Command()._prepare()


class TestDemo:
    def test_it_is_there_under_debug_only(self, deployment: Settings) -> None:
        boot(deployment)
        assert not lets_in(environment.DEMO_KEY, "demo")
        for _ in range(2):
            boot(deployment, DEBUG=True)
            assert lets_in(environment.DEMO_KEY, "demo")
        for _ in range(2):
            boot(deployment, DEBUG=False)
            assert not Service.objects.exists()
        assert kinds() == ["registered", "deleted"]

    def test_it_goes_whatever_an_operator_made_of_it_and_whatever_the_secret(
        self, deployment: Settings
    ) -> None:
        boot(deployment, DEBUG=True)
        services.rotate_key("demo", OPERATOR)
        boot(deployment, DEBUG=False, SECRET_KEY="not the development's")
        assert not lets_in(environment.DEMO_KEY, "demo")

    def test_the_known_key_can_not_be_configured_without_debug(self, deployment: Settings) -> None:
        known = CustomService("demo", environment.DEMO_KEY, "demo")
        boot(deployment, known, DEBUG=True)
        with pytest.raises(InvalidService, match="demo: everybody knows this key"):
            boot(deployment, known, DEBUG=False)

    def test_one_with_a_key_of_its_own_is_a_service_like_any(self, deployment: Settings) -> None:
        boot(deployment, DEBUG=True)
        own = CustomService("demo", "a-key-of-its-own", "game")
        for debug in (False, True, False):
            boot(deployment, own, DEBUG=debug)
            assert lets_in(own.key, "demo")
            assert not lets_in(environment.DEMO_KEY, "demo")

    def test_somebody_elses_is_left_alone(self, deployment: Settings) -> None:
        services.register(
            "demo",
            "key-of-an-operator",
            service_type="game",
            origin=Service.Origin.OPERATOR,
            actor=OPERATOR,
        )
        for debug in (True, False):
            boot(deployment, DEBUG=debug)
            assert lets_in("key-of-an-operator", "demo")
            assert not lets_in(environment.DEMO_KEY, "demo")
