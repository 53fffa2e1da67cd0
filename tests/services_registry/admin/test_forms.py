"""A new service, and what can be edited of one."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services_registry import selectors, services
from services_registry.models import Service, ServiceEvent
from tests.services_registry.admin.conftest import KEY, SERVICES, Operator, text

Register = Callable[..., Service]
ADD = f"{SERVICES}add/"
GIVEN = {"name": "herald", "type": "news", "description": "", "metadata": "{}", "key": KEY}


def test_an_operator_adds_a_service(root: Operator) -> None:
    root.post(ADD, **{**GIVEN, "metadata": '{"region": "eu"}'})
    service = Service.objects.get()
    assert (service.origin, service.state) == ("operator", "enabled")
    assert service.metadata == {"region": "eu"}
    assert service.approved_by == root.user
    assert selectors.find_by_credentials("herald", KEY)
    assert ServiceEvent.objects.get().actor == root.user.get_username()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "Not A Name"}, "Lower-case letters"),
        ({"name": "taken"}, "already exists"),
        ({"type": ""}, "required"),
        ({"type": "unheard-of"}, "one of news, game"),
        ({"key": "short"}, "at least 8 characters"),
        ({"key": "x" * 257}, "at most 256"),
        ({"metadata": "{nonsense"}, "valid JSON"),
        ({"metadata": "[1, 2]"}, "Expected a JSON object"),
        ({"metadata": '{"x": NaN}'}, "Expected a JSON object"),
        ({"metadata": json.dumps({"x": "y" * 17_000})}, "at most 16384 bytes"),
        ({"description": "x" * 1001}, "at most 1000"),
    ],
)
def test_what_does_not_fit_is_said_and_changes_nothing(
    root: Operator, register: Register, settings: Any, given: dict[str, str], said: str
) -> None:
    register("taken")
    settings.ALLOWED_SERVICE_TYPES = ("news", "game")
    answer = root.post(ADD, **{**GIVEN, **given})
    assert answer.status_code == 200
    assert said in text(answer)
    assert Service.objects.get().name == "taken"


def test_no_more_than_may_be(root: Operator, settings: Any) -> None:
    """Only the write itself can tell; what was typed is still there."""
    settings.MAX_SERVICES = 0
    answer = root.post(ADD, **{**GIVEN, "description": "what was typed"})
    assert "0 services are registered: no more fit." in text(answer)
    assert "what was typed" in text(answer)
    assert not Service.objects.exists()


def test_type_description_and_metadata_are_edited(root: Operator, register: Register) -> None:
    pk = register("herald").pk
    page = f"{SERVICES}{pk}/change/"
    inline = {"events-TOTAL_FORMS": 0, "events-INITIAL_FORMS": 0}
    edited = {"type": "stats", "description": "Counts.", "metadata": '{"a": [1, {"b": null}]}'}
    assert root.post(page, name="renamed", **edited, **inline).status_code == 302
    service = Service.objects.get()
    assert (service.name, service.type, service.description) == ("herald", "stats", "Counts.")
    assert service.metadata == {"a": [1, {"b": None}]}
    assert ServiceEvent.objects.filter(kind=ServiceEvent.Kind.EDITED).count() == 1
    # As it is already: nothing to record.
    root.post(page, **edited, **inline)
    assert ServiceEvent.objects.filter(kind=ServiceEvent.Kind.EDITED).count() == 1


def test_a_type_that_is_not_allowed_any_more_may_stay(
    root: Operator, register: Register, settings: Any
) -> None:
    page = f"{SERVICES}{register('herald').pk}/change/"
    settings.ALLOWED_SERVICE_TYPES = ("news",)
    inline = {"events-TOTAL_FORMS": 0, "events-INITIAL_FORMS": 0}
    root.post(page, type="game", description="Still.", metadata="{}", **inline)
    assert Service.objects.get().description == "Still."


def test_one_that_vanishes_while_it_is_edited(
    root: Operator, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"{SERVICES}{register('herald').pk}/change/"
    edit = services.edit

    def too_late(name: str, actor: services.Actor, **fields: Any) -> Service:
        services.delete(name, actor)
        return edit(name, actor, **fields)

    monkeypatch.setattr(services, "edit", too_late)
    inline = {"events-TOTAL_FORMS": 0, "events-INITIAL_FORMS": 0}
    answer = root.post(page, type="game", description="?", metadata="{}", **inline)
    assert "No service is called herald." in text(answer)
