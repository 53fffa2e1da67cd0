"""Keys are shown once; a rotation leaves the one before, a replacement does not."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.http import HttpResponse

from services_registry import selectors, services
from services_registry.models import Service, ServiceEvent
from tests.services_registry.admin.conftest import KEY, SERVICES, Operator, text

Register = Callable[..., Service]
ROOT = services.Actor("root")


def shown_key(answer: HttpResponse) -> str:
    found = re.search(r'id="new-key"[^>]* value="([\w-]{40,})"', answer.content.decode())
    assert found, text(answer)
    return found[1]


def ask(operator: Operator, decision: str, service: Service) -> Any:
    return operator.get(f"{SERVICES}decide/{decision}/", service=service.pk)


def decide(operator: Operator, decision: str, service: Service) -> Any:
    return operator.confirm(ask(operator, decision, service))


def good(key: str) -> bool:
    return selectors.find_by_credentials("herald", key) is not None


def test_a_new_service_s_key_is_made_and_shown_once(root: Operator) -> None:
    given = {"name": "herald", "type": "news", "description": "", "metadata": "{}", "key": ""}
    answer = root.post(f"{SERVICES}add/", **given)
    key = shown_key(answer)
    assert good(key)
    assert "no-store" in answer.headers["Cache-Control"]
    pk = Service.objects.get().pk
    for page in (f"{SERVICES}{pk}/change/", SERVICES, "/admin/"):
        assert key not in root.get(page).content.decode()
    assert all(key not in str(session.get_decoded()) for session in Session.objects.all())


def test_one_that_an_operator_gives_is_not_shown(root: Operator) -> None:
    given = {"name": "herald", "type": "news", "description": "", "metadata": "{}", "key": KEY}
    answer = root.post(f"{SERVICES}add/", **given)
    assert answer.status_code == 302
    assert KEY not in answer.content.decode()


def test_rotation_leaves_the_present_key_until_it_is_dropped(
    root: Operator, register: Register
) -> None:
    service = register("herald")
    new = shown_key(decide(root, "rotate-key", service))
    assert good(new)
    assert good(KEY)
    assert "two, until" in text(root.get(f"{SERVICES}{service.pk}/change/"))
    decide(root, "drop-previous-key", service)
    assert good(new)
    assert not good(KEY)


def test_a_page_from_before_a_rotation_does_not_drop_the_key_that_it_left(
    root: Operator, register: Register
) -> None:
    service = register("herald")
    first = services.rotate_key("herald", ROOT)
    question = ask(root, "drop-previous-key", service)
    second = services.rotate_key("herald", ROOT)
    root.confirm(question)
    assert "herald was changed meanwhile: nothing was done." in root.messages()
    assert good(first)
    assert good(second)
    decide(root, "drop-previous-key", service)
    assert not good(first)
    assert good(second)


def test_a_replacement_leaves_no_other_key(root: Operator, register: Register) -> None:
    new = shown_key(decide(root, "replace-key", register("herald")))
    assert good(new)
    assert not good(KEY)


@pytest.mark.parametrize("decision", ["rotate-key", "replace-key"])
def test_the_same_form_twice_changes_the_key_once(
    root: Operator, register: Register, decision: str
) -> None:
    """A double click, or the page loaded again: the key that was shown stays good."""
    question = ask(root, decision, register("herald"))
    new = shown_key(root.confirm(question))
    again = root.confirm(question)
    assert again.status_code == 302
    assert "was changed meanwhile: nothing was done" in root.messages()
    assert good(new)
    changes = ServiceEvent.objects.filter(kind=ServiceEvent.Kind.KEY_CHANGED)
    assert changes.count() == 1


def test_no_page_tells_a_hash(root: Operator, register: Register) -> None:
    service = register("herald")
    digest = service.key_hash.rpartition("$")[2]
    for page in (SERVICES, f"{SERVICES}{service.pk}/change/", f"{SERVICES}decide/rotate-key/"):
        assert digest not in root.get(page, service=service.pk).content.decode()
