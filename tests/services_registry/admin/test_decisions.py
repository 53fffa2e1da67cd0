"""Approve, reject, enable, disable, delete: asked first, done by POST, for one and for many."""

from collections.abc import Callable

import pytest

from services_registry import services
from services_registry.models import Service, ServiceEvent
from tests.services_registry.admin.conftest import SERVICES, Operator, text

Register = Callable[..., Service]
ROOT = services.Actor("root")


def decide(name: str) -> str:
    return f"{SERVICES}decide/{name}/"


@pytest.mark.parametrize(
    ("decision", "before", "after"),
    [
        ("approve", "pending", "enabled"),
        ("reject", "pending", "rejected"),
        ("disable", "enabled", "disabled"),
        ("enable", "disabled", "enabled"),
    ],
)
def test_a_decision_is_asked_about_and_then_carried_out(
    root: Operator, register: Register, decision: str, before: str, after: str
) -> None:
    service = register("herald", pending=before == "pending")
    if before == "disabled":
        services.disable("herald", ROOT)
    question = root.get(decide(decision), service=service.pk)
    assert f"{decision.title()} herald?" in text(question)
    assert Service.objects.get().state == before
    answer = root.confirm(question)
    assert answer.status_code == 302
    assert Service.objects.get().state == after
    event = ServiceEvent.objects.first()
    assert event is not None
    assert (event.actor, event.address) == (root.user.get_username(), "127.0.0.1")
    assert f"herald was {decision.rstrip('e')}" in root.messages()


def test_many_at_once(root: Operator, register: Register) -> None:
    pks = [register(f"service-{number}", pending=True).pk for number in range(3)]
    services.approve("service-2", ROOT)
    question = root.post(SERVICES, action="approve", _selected_action=pks)
    assert "Approve 2 services?" in text(question)
    assert "left alone: service-2 (enabled)" in text(question)
    assert Service.objects.filter(approval="approved").count() == 1
    root.confirm(question)
    assert Service.objects.filter(approval="approved").count() == 3
    approvals = ServiceEvent.objects.filter(kind=ServiceEvent.Kind.APPROVED)
    assert approvals.count() == 3


def test_one_that_is_gone_does_not_hold_up_the_others(root: Operator, register: Register) -> None:
    gone, stays = register("gone"), register("stays")
    question = root.get(decide("disable"), service=[gone.pk, stays.pk])
    services.delete("gone", ROOT)
    root.confirm(question)
    assert Service.objects.get().state == "disabled"


@pytest.mark.parametrize(
    ("decision", "meanwhile", "stays"),
    [
        ("approve", services.reject, "rejected"),
        ("reject", services.approve, "enabled"),
        ("enable", services.reject, "rejected"),
        ("disable", services.approve, "enabled"),
    ],
)
def test_what_somebody_else_decided_meanwhile_stands(
    root: Operator,
    register: Register,
    decision: str,
    meanwhile: Callable[..., Service],
    stays: str,
) -> None:
    service = register("herald", pending=True)
    if decision == "enable":
        services.disable("herald", ROOT)
    question = root.get(decide(decision), service=service.pk)
    meanwhile("herald", ROOT)
    events = ServiceEvent.objects.count()
    assert root.confirm(question).status_code == 302
    assert "herald was changed meanwhile: nothing was done." in root.messages()
    assert Service.objects.get().state == stays
    assert ServiceEvent.objects.count() == events


def test_of_many_only_those_that_are_as_they_were(root: Operator, register: Register) -> None:
    pks = [register(name, pending=True).pk for name in ("changed", "same")]
    question = root.get(decide("approve"), service=pks)
    services.reject("changed", ROOT)
    root.confirm(question)
    assert "changed was changed meanwhile" in (said := root.messages())
    assert "same was approved" in said
    states = [service.state for service in Service.objects.all()]
    assert states == ["rejected", "enabled"]


def test_who_saw_no_question_decides_nothing(root: Operator, register: Register) -> None:
    service = register("herald")
    root.post(decide("disable"), service=service.pk)
    assert "herald was changed meanwhile" in root.messages()
    assert Service.objects.get().state == "enabled"


def test_what_is_so_already_is_left_alone(root: Operator, register: Register) -> None:
    service = register("herald")
    assert "There is nothing to decide." in text(root.get(decide("enable"), service=service.pk))
    root.post(decide("enable"), service=service.pk)
    assert ServiceEvent.objects.count() == 1


def test_a_service_s_page_offers_what_fits(root: Operator, register: Register) -> None:
    page = text(root.get(f"{SERVICES}{register('herald', pending=True).pk}/change/"))
    assert "Approve Reject Disable" in page
    assert "Enable" not in page
    assert "Drop previous key" not in page


def test_rows_lead_to_the_question(root: Operator, register: Register) -> None:
    pk = register("herald").pk
    for row_action, target in {
        "disable": f"{decide('disable')}?service={pk}",
        "delete_one": f"{SERVICES}{pk}/delete/",
    }.items():
        answer = root.get(f"{SERVICES}{pk}/{row_action}/")
        assert answer.headers["Location"] == target


def test_deleting_is_asked_about_and_leaves_the_trail(root: Operator, register: Register) -> None:
    pk = register("herald").pk
    assert "Are you sure" in text(root.get(f"{SERVICES}{pk}/delete/"))
    assert Service.objects.exists()
    root.post(f"{SERVICES}{pk}/delete/", post="yes")
    assert not Service.objects.exists()
    assert ServiceEvent.objects.filter(kind=ServiceEvent.Kind.DELETED).count() == 1


def test_deleting_many(root: Operator, register: Register) -> None:
    pks = [register(name).pk for name in ("one", "two")]
    chosen = {"action": "delete_selected", "_selected_action": pks}
    assert "Are you sure" in text(root.post(SERVICES, **chosen))
    assert Service.objects.count() == 2
    root.post(SERVICES, post="yes", **chosen)
    assert not Service.objects.exists()
    assert ServiceEvent.objects.filter(kind=ServiceEvent.Kind.DELETED).count() == 2


def test_nonsense_changes_nothing(root: Operator, register: Register) -> None:
    register("herald")
    assert root.get(decide("promote")).status_code == 404
    for nonsense in ("", "x", "-1", "²", "9" * 30):
        assert root.post(decide("disable"), service=nonsense).status_code == 302
    assert Service.objects.get().state == "enabled"


def test_another_site_decides_nothing(root: Operator, register: Register) -> None:
    service = register("herald")
    answer = root.post(decide("disable"), service=service.pk, csrfmiddlewaretoken="x" * 32)
    assert answer.status_code == 403
    assert Service.objects.get().enabled
