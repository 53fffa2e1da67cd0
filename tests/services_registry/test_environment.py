"""CUSTOM_SERVICES at boot. Each call of `boot` is one start of a deployment."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from gateways.management.commands import serve
from scarfall.embedded import CannotStart
from scarfall.values import CustomService
from services_registry import environment, keys, selectors, services
from services_registry.errors import InvalidService
from services_registry.keys import MAX_KEY_LENGTH
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


def replaced() -> str:
    """The environment's key is good no more; which one is."""
    key = "key-of-an-operator"
    services.replace_key("billing", key, OPERATOR)
    return key


def rotated_and_dropped() -> str:
    key = services.rotate_key("billing", OPERATOR)
    services.drop_previous_key("billing", OPERATOR)
    return key


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


@pytest.mark.parametrize("take_away", [replaced, rotated_and_dropped])
def test_a_key_that_was_taken_away_does_not_come_back_with_another_secret_key(
    deployment: Settings, take_away: Callable[[], str]
) -> None:
    """Another machine has another DATA_DIR, and so another SECRET_KEY, but the same database."""
    boot(deployment, BILLING)
    good = take_away()
    before = kinds()
    for secret in ("another", "a third", "another"):
        digest = selectors.get("billing").environment_digest
        boot(deployment, BILLING, SECRET_KEY=secret)
        assert selectors.get("billing").environment_digest != digest
        assert lets_in(good)
        assert not lets_in(BILLING.key)
    assert kinds() == before
    boot(deployment, REKEYED, SECRET_KEY="a fourth")
    assert lets_in(REKEYED.key)
    assert not lets_in(good)


def test_a_key_that_the_environment_gave_before_the_last_is_another_one(
    deployment: Settings,
) -> None:
    boot(deployment, BILLING)
    boot(deployment, REKEYED)
    good = replaced()
    boot(deployment, BILLING, SECRET_KEY="another")
    assert lets_in(BILLING.key)
    assert not lets_in(good)


def test_a_key_that_operators_made_and_the_environment_then_gives_is_remembered(
    deployment: Settings,
) -> None:
    boot(deployment, BILLING)
    services.replace_key("billing", REKEYED.key, OPERATOR)
    before = kinds()
    boot(deployment, REKEYED)
    assert kinds() == before
    good = replaced()
    boot(deployment, REKEYED, SECRET_KEY="another")
    assert lets_in(good)
    assert not lets_in(REKEYED.key)


class TestRowsFromBefore:
    """They have the digest alone of the key that the environment gave last."""

    @pytest.fixture(autouse=True)
    def _brought_in(self, deployment: Settings) -> None:
        boot(deployment, BILLING)
        Service.objects.update(environment_key_hash="")

    @pytest.mark.usefixtures("deployment")
    def test_the_version_before_writes_them_without_the_column(self) -> None:
        """As it does while the machines of a deployment are restarted one after the other."""
        columns = [
            field.attname
            for field in Service._meta.concrete_fields
            if field.name not in ("id", "name", "environment_key_hash")
        ]
        copied = ", ".join(columns)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO services_registry_service (name, {copied})"
                f" SELECT 'older', {copied} FROM services_registry_service"
            )
        assert selectors.get("older").environment_key_hash == ""

    def test_a_boot_with_the_same_secret_key_adds_the_rest(self, deployment: Settings) -> None:
        good = replaced()
        before = kinds()
        boot(deployment, BILLING)
        boot(deployment, BILLING, SECRET_KEY="another")
        assert kinds() == before
        assert lets_in(good)
        assert not lets_in(BILLING.key)

    def test_with_another_one_a_key_that_is_good_stays_so(self, deployment: Settings) -> None:
        good = services.rotate_key("billing", OPERATOR)
        before = kinds()
        boot(deployment, BILLING, SECRET_KEY="another")
        assert kinds() == before
        assert lets_in(good)
        assert lets_in(BILLING.key)

    def test_with_another_one_a_key_that_is_not_is_a_new_one(self, deployment: Settings) -> None:
        good = replaced()
        boot(deployment, BILLING, SECRET_KEY="another")
        assert lets_in(BILLING.key)
        assert not lets_in(good)


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


def test_a_key_that_is_too_long_to_authenticate_is_refused(deployment: Settings) -> None:
    longest = "k" * MAX_KEY_LENGTH
    boot(deployment, CustomService("billing", longest, "payments"))
    assert lets_in(longest)
    with pytest.raises(InvalidService, match="mailer: serviceKey: expected at most 256") as caught:
        boot(deployment, CustomService("mailer", longest + "k", "mail"))
    assert "kkk" not in str(caught.value)
    with pytest.raises(CannotStart, match="CUSTOM_SERVICES: mailer: serviceKey: "):
        serve.Command()._prepare()
    assert [service.name for service in Service.objects.all()] == ["billing"]


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


def test_several_boot_at_once_and_the_key_that_was_taken_away_stays_away(
    deployment: Settings,
) -> None:
    boot(deployment, BILLING)
    good = replaced()
    before = kinds()
    deployment.SECRET_KEY = "another"
    assert at_once(*[environment.synchronise] * 4) == [None] * 4
    assert kinds() == before
    assert lets_in(good)
    assert not lets_in(BILLING.key)


def test_what_changes_while_a_key_is_hashed_is_judged_anew(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with another SECRET_KEY was quicker, and then an operator."""
    boot(deployment, BILLING)
    judge = keys.first_fitting
    good = ""

    def overtaken(*args: Any) -> str | None:
        nonlocal good
        fitting = judge(*args)
        if not good:
            good = "set already"
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr(deployment, "SECRET_KEY", "of another machine")
                environment.synchronise()
            good = replaced()
        return fitting

    monkeypatch.setattr(keys, "first_fitting", overtaken)
    boot(deployment, REKEYED, SECRET_KEY="of this machine")
    assert lets_in(good)
    assert not lets_in(REKEYED.key)
    assert kinds() == ["registered", "key changed", "key changed"]


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

    def test_one_with_a_key_of_its_own_stays_where_it_is_named_no_longer(
        self, deployment: Settings
    ) -> None:
        """Other machines may still name it."""
        own = CustomService("demo", "a-key-of-its-own", "game")
        boot(deployment, own)
        for debug in (False, True, False):
            boot(deployment, DEBUG=debug, SECRET_KEY=f"another, {debug}")
            assert lets_in(own.key, "demo")
            assert not lets_in(environment.DEMO_KEY, "demo")
        assert kinds() == ["registered"]

    def test_several_processes_remove_it_at_once(self, deployment: Settings) -> None:
        boot(deployment, DEBUG=True)
        deployment.DEBUG = False
        assert at_once(*[environment.synchronise] * 4) == [None] * 4
        assert kinds() == ["registered", "deleted"]

    def test_from_before_it_goes_where_the_known_key_is_good(self, deployment: Settings) -> None:
        boot(deployment, DEBUG=True)
        Service.objects.update(environment_key_hash="")
        services.rotate_key("demo", OPERATOR)
        boot(deployment, DEBUG=False, SECRET_KEY="another")
        assert not Service.objects.exists()

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
