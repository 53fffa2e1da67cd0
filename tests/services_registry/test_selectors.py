from collections.abc import Callable
from functools import partial

import pytest

from services_registry import keys, selectors, services
from services_registry.errors import UnknownService
from services_registry.models import Service
from services_registry.services import Actor

OPERATOR = Actor("olga", "203.0.113.7")
KEY = "the-key-of-billing"
IMPOSSIBLE = ["", "\0", "a\0b", "Billing", "x" * 65, "\ud800"]


def add(name: str, key: str = KEY, service_type: str = "payments") -> Service:
    return services.register(
        name, key, service_type=service_type, origin=Service.Origin.OPERATOR, actor=OPERATOR
    )


def test_get(registry: None) -> None:
    add("billing")
    assert selectors.get("billing").type == "payments"
    for name in ("mailer", *IMPOSSIBLE):
        with pytest.raises(UnknownService):
            selectors.get(name)


def test_credentials_are_found_by_either_key_of_a_rotation(registry: None) -> None:
    service = add("billing")
    found = selectors.find_by_credentials("billing", KEY)
    assert found is not None
    assert found.service == service
    new_key = services.rotate_key("billing", OPERATOR)
    by_old = selectors.find_by_credentials("billing", KEY)
    by_new = selectors.find_by_credentials("billing", new_key)
    assert by_old is not None
    assert by_new is not None
    assert by_old.key_hash == found.key_hash != by_new.key_hash
    services.drop_previous_key("billing", OPERATOR)
    assert selectors.find_by_credentials("billing", KEY) is None
    assert selectors.find_by_credentials("billing", new_key) == by_new


def test_wrong_unknown_and_impossible_get_the_same_answer(registry: None) -> None:
    add("billing")
    assert selectors.find_by_credentials("billing", "wrong") is None
    assert selectors.find_by_credentials("billing", "") is None
    for name in ("mailer", *IMPOSSIBLE):
        assert selectors.find_by_credentials(name, KEY) is None


def test_wrong_unknown_and_impossible_cost_the_same(
    registry: None, hashes_made: Callable[[Callable[[], object]], int]
) -> None:
    add("billing")
    add("rotated")
    services.rotate_key("rotated", OPERATOR)
    for name in ("billing", "rotated", "mailer", *IMPOSSIBLE):
        assert hashes_made(partial(selectors.find_by_credentials, name, "wrong")) == 2


def test_credentials_are_found_whether_admitted_or_not(registry: None) -> None:
    add("billing")
    services.disable("billing", OPERATOR)
    found = selectors.find_by_credentials("billing", KEY)
    assert found is not None
    assert not found.service.admitted


def test_who_is_admitted(registry: None) -> None:
    key_hash = add("billing").key_hash
    assert selectors.find_admitted("billing", key_hash)
    assert not selectors.find_admitted("billing", "")
    assert not selectors.find_admitted("mailer", key_hash)
    services.disable("billing", OPERATOR)
    assert not selectors.find_admitted("billing", key_hash)
    services.enable("billing", OPERATOR)
    services.rotate_key("billing", OPERATOR)
    assert selectors.find_admitted("billing", key_hash)
    services.rotate_key("billing", OPERATOR)
    assert not selectors.find_admitted("billing", key_hash)


def test_who_is_admitted_no_longer_once_rejected_or_deleted(registry: None) -> None:
    key_hash = add("billing").key_hash
    services.reject("billing", OPERATOR)
    assert not selectors.find_admitted("billing", key_hash)
    services.approve("billing", OPERATOR)
    assert selectors.find_admitted("billing", key_hash)
    services.delete("billing", OPERATOR)
    assert not selectors.find_admitted("billing", key_hash)


def test_lists(registry: None) -> None:
    add("mailer", service_type="mail")
    add("billing")
    add("invoices")
    assert [service.name for service in selectors.all_services()] == [
        "billing", "invoices", "mailer"
    ]  # fmt: skip
    assert selectors.types() == ["mail", "payments"]
    assert selectors.pending_count() == 0


def test_nothing_told_of_a_service_is_of_its_keys(registry: None) -> None:
    service = add("billing")
    told = repr(selectors.as_dict(service))
    assert KEY not in told
    assert service.key_hash not in told
    assert keys.find(KEY, [service.key_hash])


def test_events_outlive_their_service(registry: None) -> None:
    add("billing")
    services.disable("billing", OPERATOR)
    services.delete("billing", OPERATOR)
    events = selectors.events("billing", 2)
    assert [event.kind for event in events] == ["deleted", "disabled"]
    assert all(event.service is None for event in events)
