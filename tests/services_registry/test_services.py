from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from pytest_django.fixtures import Settings

from services_registry import keys, notices, selectors, services
from services_registry.errors import (
    InvalidService,
    LimitReached,
    NameTaken,
    Outdated,
    UnknownService,
)
from services_registry.models import Service, ServiceEvent
from services_registry.services import Actor

OPERATOR = Actor("olga", "203.0.113.7")
KEY = "the-key-of-billing"
Origin = Service.Origin


@pytest.fixture(autouse=True)
def announced(registry: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that a notice was sent of; how it is sent is test_notices' matter."""
    names: list[str] = []
    monkeypatch.setattr(notices, "_send", names.append)
    return names


def register(
    name: str = "billing",
    key: str = KEY,
    *,
    service_type: str = "payments",
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
    origin: Service.Origin = Origin.OPERATOR,
) -> Service:
    return services.register(
        name,
        key,
        service_type=service_type,
        description=description,
        metadata=metadata,
        origin=origin,
        actor=OPERATOR,
    )


def events() -> list[tuple[str, str, str, str]]:
    rows = ServiceEvent.objects.order_by("pk")
    return list(rows.values_list("service_name", "kind", "actor", "address"))


class TestRegister:
    def test_it_is_stored_without_its_key(self) -> None:
        register(description="Bills players", metadata={"tier": 1})
        service = selectors.get("billing")
        assert (service.type, service.description) == ("payments", "Bills players")
        assert service.metadata == {"tier": 1}
        assert service.admitted
        assert service.last_authenticated_at is None
        assert KEY not in repr(vars(service))
        assert selectors.find_by_credentials("billing", KEY)
        assert events() == [("billing", "registered", "olga", "203.0.113.7")]

    @pytest.mark.parametrize(
        ("required", "origin", "approval"),
        [
            (True, Origin.REGISTRATION, "pending"),
            (False, Origin.REGISTRATION, "approved"),
            (True, Origin.OPERATOR, "approved"),
        ],
    )
    def test_who_waits_for_approval(
        self, settings: Settings, required: bool, origin: Service.Origin, approval: str
    ) -> None:
        settings.REQUIRE_SERVICE_APPROVAL = required
        service = register(origin=origin)
        assert service.approval == approval
        assert (service.approved_at is not None) == (origin == Origin.OPERATOR)
        assert selectors.pending_count() == (approval == "pending")

    def test_a_name_that_is_taken(self) -> None:
        register()
        with pytest.raises(NameTaken, match="billing"):
            register(key="another-key")
        assert selectors.find_by_credentials("billing", KEY)
        assert len(events()) == 1

    def test_the_limit(self, settings: Settings) -> None:
        settings.MAX_SERVICES = 2
        register("one")
        register("two")
        with pytest.raises(LimitReached, match="2 services are registered"):
            register("three")
        assert len(events()) == 2
        services.delete("one", OPERATOR)
        register("three")

    @pytest.mark.parametrize(
        "bad",
        [
            {"name": "Billing"},
            {"key": "1234567"},
            {"service_type": ""},
            {"service_type": "mail"},
            {"description": "a\0b"},
            {"metadata": {"a": float("nan")}},
        ],
    )
    def test_fields_that_do_not_fit(self, settings: Settings, bad: dict[str, Any]) -> None:
        settings.ALLOWED_SERVICE_TYPES = ("payments",)
        with pytest.raises(InvalidService):
            register(**bad)
        assert not Service.objects.exists()
        assert events() == []

    def test_what_is_refused_anyway_costs_no_slow_hash(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        register()
        settings.MAX_SERVICES = 1
        monkeypatch.delattr(keys, "hash_key")
        with pytest.raises(NameTaken):
            register()
        with pytest.raises(LimitReached):
            register("mailer")


Change = Callable[..., object]


class TestChanges:
    """Each: what it leaves in the row, one audit row, one notice; nothing where nothing changed."""

    @pytest.mark.parametrize(
        ("prepare", "change", "kind"),
        [
            ((), services.disable, "disabled"),
            ((services.disable,), services.enable, "enabled"),
            ((), services.reject, "rejected"),
            ((services.reject,), services.approve, "approved"),
            ((services.rotate_key,), services.drop_previous_key, "previous key dropped"),
        ],
    )
    def test_it_leaves_a_row_and_a_notice_the_first_time_only(
        self, announced: list[str], prepare: tuple[Change, ...], change: Change, kind: str
    ) -> None:
        register()
        for step in prepare:
            step("billing", Actor("before"))
        announced.clear()
        ServiceEvent.objects.all().delete()
        change("billing", OPERATOR)
        change("billing", OPERATOR)
        assert events() == [("billing", kind, "olga", "203.0.113.7")]
        assert announced == ["billing"]

    @pytest.mark.parametrize(
        "change",
        [
            services.approve,
            services.reject,
            services.enable,
            services.disable,
            services.rotate_key,
            services.drop_previous_key,
            services.delete,
        ],
    )
    def test_of_nobody(self, announced: list[str], change: Change) -> None:
        for name in ("nobody", "\0", "\ud800"):
            with pytest.raises(UnknownService):
                change(name, OPERATOR)
        assert events() == []
        assert announced == []

    @pytest.mark.parametrize(
        ("meanwhile", "change"),
        [
            (services.reject, services.approve),
            (services.approve, services.reject),
            (services.reject, services.enable),
            (services.reject, services.disable),
            (services.rotate_key, services.drop_previous_key),
            (services.rotate_key, services.rotate_key),
            (services.disable, services.rotate_key),
        ],
    )
    def test_what_was_seen_must_still_be_so(
        self, settings: Settings, announced: list[str], meanwhile: Change, change: Change
    ) -> None:
        settings.REQUIRE_SERVICE_APPROVAL = True
        seen = register(origin=Origin.REGISTRATION).fingerprint
        meanwhile("billing", Actor("before"))
        announced.clear()
        before = selectors.get("billing"), events()
        with pytest.raises(Outdated, match="billing was changed meanwhile: nothing was done"):
            change("billing", OPERATOR, seen=seen)
        after = selectors.get("billing")
        assert (vars(after) | {"_state": 0}) == (vars(before[0]) | {"_state": 0})
        assert events() == before[1]
        assert announced == []
        change("billing", OPERATOR, seen=after.fingerprint)
        change("billing", OPERATOR)

    def test_what_operators_do_not_decide_outdates_nothing(self) -> None:
        seen = register().fingerprint
        services.note_authentication("billing")
        services.edit("billing", OPERATOR, service_type="x", description="y", metadata={"z": 1})
        assert services.disable("billing", OPERATOR, seen=seen).fingerprint != seen

    def test_admission(self) -> None:
        register()
        assert selectors.get("billing").admitted
        services.disable("billing", OPERATOR)
        services.reject("billing", OPERATOR)
        services.enable("billing", OPERATOR)
        assert not selectors.get("billing").admitted
        services.approve("billing", OPERATOR)
        assert selectors.get("billing").admitted

    def test_who_approved_it_and_when_is_known_until_it_is_rejected(self) -> None:
        olga = get_user_model().objects.create_user("olga")
        register()
        services.reject("billing", OPERATOR)
        services.approve("billing", Actor("olga", user=olga))
        service = selectors.get("billing")
        approved_at = service.approved_at
        assert (service.approved_by, approved_at is not None) == (olga, True)
        services.approve("billing", Actor("somebody else"))
        assert selectors.get("billing").approved_at == approved_at
        services.reject("billing", OPERATOR)
        service = selectors.get("billing")
        assert (service.approved_by, service.approved_at) == (None, None)

    def test_an_approval_outlives_whoever_gave_it(self) -> None:
        olga = get_user_model().objects.create_user("olga")
        register()
        services.reject("billing", OPERATOR)
        services.approve("billing", Actor("olga", user=olga))
        olga.delete()
        assert selectors.get("billing").admitted
        assert events()[-1][1:3] == ("approved", "olga")

    def test_a_key_is_replaced(self, announced: list[str]) -> None:
        register()
        services.rotate_key("billing", OPERATOR)
        announced.clear()
        services.replace_key("billing", "another-key", OPERATOR)
        assert selectors.find_by_credentials("billing", "another-key")
        assert not selectors.find_by_credentials("billing", KEY)
        assert len(selectors.get("billing").key_hashes) == 1
        assert announced == ["billing"]
        with pytest.raises(InvalidService):
            services.replace_key("billing", "short", OPERATOR)
        assert selectors.find_by_credentials("billing", "another-key")

    def test_no_key_is_in_the_audit_trail(self) -> None:
        register()
        key = services.rotate_key("billing", OPERATOR)
        services.replace_key("billing", "another-key", OPERATOR)
        trail = repr(list(ServiceEvent.objects.values()))
        assert not any(secret in trail for secret in (KEY, key, "another-key", "md5$"))

    def test_edit(self, settings: Settings, announced: list[str]) -> None:
        register()

        def edit(
            service_type: str = "payments",
            description: str = "Bills",
            metadata: Mapping[str, Any] | None = None,
        ) -> None:
            services.edit(
                "billing",
                OPERATOR,
                service_type=service_type,
                description=description,
                metadata=metadata or {"a": 1},
            )

        edit()
        edit()
        service = selectors.get("billing")
        assert (service.description, service.metadata) == ("Bills", {"a": 1})
        assert [kind for _, kind, _, _ in events()] == ["registered", "edited"]
        assert announced == ["billing"]

        settings.ALLOWED_SERVICE_TYPES = ("game",)
        edit(description="the type that it has may stay")
        with pytest.raises(InvalidService):
            edit(service_type="mail")
        with pytest.raises(InvalidService):
            edit(description="\0")
        with pytest.raises(InvalidService):
            edit(metadata={"a": float("nan")})
        edit(service_type="game")
        assert selectors.get("billing").type == "game"

    def test_the_trail_of_one_that_is_deleted_stays(self, announced: list[str]) -> None:
        register()
        services.delete("billing", OPERATOR)
        assert not Service.objects.exists()
        assert [kind for _, kind, _, _ in events()] == ["registered", "deleted"]
        assert not ServiceEvent.objects.filter(service__isnull=False).exists()
        assert announced == ["billing"]

    def test_an_authentication_leaves_its_time_and_nothing_else(self, announced: list[str]) -> None:
        service = register()
        services.note_authentication(service.name)
        assert selectors.get("billing").last_authenticated_at is not None
        services.note_authentication("nobody")
        assert len(events()) == 1
        assert announced == []


class TestRefusals:
    def test_under_a_name_of_a_service(self) -> None:
        service = register()
        services.record_refusals("billing", 17, Actor("billing", "198.51.100.9"))
        event = selectors.events("billing", 1)[0]
        assert (event.service, event.kind, event.detail) == (service, "refused", "17 times")
        assert event.address == "198.51.100.9"

    @pytest.mark.parametrize(
        ("name", "recorded"),
        [
            ("nobody", "nobody"),
            ("a\0b\n", "a\\x00b\\n"),
            ("\ud800", "\\ud800"),
            ("x" * 1000, "x" * 64),
            ("", ""),
        ],
    )
    def test_under_whatever_was_given_for_one(self, name: str, recorded: str) -> None:
        services.record_refusals(name, 3, Actor("a" * 1000, "b" * 1000))
        event = ServiceEvent.objects.get()
        assert (event.service, event.service_name) == (None, recorded)


class TestTransactions:
    def test_nothing_is_announced_before_the_commit(self, announced: list[str]) -> None:
        register()
        with transaction.atomic():
            services.disable("billing", OPERATOR)
            assert announced == []
        assert announced == ["billing"]

    def test_nothing_is_left_of_one_that_was_rolled_back(self, announced: list[str]) -> None:
        register()
        with transaction.atomic():
            services.disable("billing", OPERATOR)
            services.delete("billing", OPERATOR)
            transaction.set_rollback(True)
        assert selectors.get("billing").enabled
        assert len(events()) == 1
        assert announced == []
