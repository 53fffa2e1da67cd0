"""To view, to change and to approve are three permissions; to add and to delete two more."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission

from services_registry.admin.service import SECRETS
from services_registry.models import Service
from tests.django_client import GatewayClient
from tests.services_registry.admin.conftest import SERVICES, Operator, text

ROOT = Path(__file__).resolve().parents[3]

Register = Callable[..., Service]
NewOperator = Callable[..., Operator]

NEEDED = {
    "approve": "approve_service",
    "reject": "approve_service",
    "enable": "change_service",
    "disable": "change_service",
    "rotate-key": "change_service",
    "drop-previous-key": "change_service",
    "replace-key": "change_service",
}


@pytest.mark.parametrize("decision", NEEDED)
@pytest.mark.parametrize("permission", ["change_service", "approve_service", "delete_service"])
def test_each_decision_needs_its_own(
    operator: NewOperator, register: Register, decision: str, permission: str
) -> None:
    pk = register("herald").pk
    path = f"{SERVICES}decide/{decision}/"
    allowed = NEEDED[decision] == permission
    who = operator("view_service", permission)
    assert who.get(path, service=pk).status_code == (200 if allowed else 403)
    if not allowed:
        assert who.post(path, service=pk).status_code == 403


def test_who_may_only_view_changes_nothing(operator: NewOperator, register: Register) -> None:
    pk = register("herald").pk
    viewer = operator("view_service")
    page = text(viewer.get(f"{SERVICES}{pk}/change/"))
    assert "Audit trail" in page
    for word in ("Save", "Delete", "Disable", "Reject", "Rotate key"):
        assert word not in page
    assert viewer.post(f"{SERVICES}{pk}/change/", type="x", metadata="{}").status_code == 403
    assert viewer.post(f"{SERVICES}{pk}/delete/", post="yes").status_code == 403
    assert viewer.get(f"{SERVICES}add/").status_code == 403
    for action in ("approve", "disable", "delete_selected"):
        viewer.post(SERVICES, action=action, _selected_action=pk, post="yes")
    service = Service.objects.get()
    assert (service.type, service.state) == ("game", "enabled")


@pytest.mark.parametrize(
    "field", ["key_hash", "previous_key_hash", "environment_digest", "environment_key_hash"]
)
def test_who_may_view_reads_no_hash_out_by_a_filter(
    operator: NewOperator, register: Register, field: str
) -> None:
    register("herald")
    viewer = operator("view_service")
    trail = "/admin/services_registry/serviceevent/"
    for lookup in (field, f"{field}__regex", f"{field}__startswith", f"{field}__in"):
        for wanted in ("m", "x"):
            assert viewer.get(SERVICES, **{lookup: wanted}).status_code == 400
            assert viewer.get(SERVICES, **{f"events__service__{lookup}": wanted}).status_code == 400
            assert viewer.get(trail, **{f"service__{lookup}": wanted}).status_code == 400
    assert "herald" in text(viewer.get(SERVICES, name__startswith="h"))


def test_no_hash_of_a_service_is_forgotten() -> None:
    """Whoever adds another column for one says it to the list as well."""
    names = {field.name for field in Service._meta.get_fields()}
    assert {name for name in names if "hash" in name or "digest" in name} == SECRETS


def test_who_approves_does_not_change(operator: NewOperator, register: Register) -> None:
    pk = register("herald", pending=True).pk
    page = text(operator("view_service", "approve_service").get(f"{SERVICES}{pk}/change/"))
    assert "Approve Reject" in page
    assert "Disable" not in page
    assert "Save" not in page


def test_the_menu_shows_what_one_may_see(operator: NewOperator, register: Register) -> None:
    nobody = operator()
    assert "Audit trail" not in text(nobody.get("/admin/"))
    assert nobody.get(SERVICES).status_code == 403
    assert nobody.get("/admin/services_registry/serviceevent/").status_code == 403
    assert nobody.get("/admin/gateways/livesession/").status_code == 403
    viewer = text(operator("view_service").get("/admin/"))
    assert "Services Audit trail" in viewer
    assert "Operators" not in viewer


def test_the_trail_is_for_nobody_to_edit(root: Operator, register: Register) -> None:
    register("herald")
    trail = "/admin/services_registry/serviceevent/"
    page = text(root.get(trail))
    assert "herald Registered herald 192.0.2.7" in page
    assert root.get(f"{trail}add/").status_code == 403
    pk = Service.objects.get().events.get().pk
    assert root.post(f"{trail}{pk}/change/", kind="approved").status_code == 403
    assert root.post(f"{trail}{pk}/delete/", post="yes").status_code == 403
    assert Service.objects.get().events.get().kind == "registered"


def test_the_permissions_that_are_documented_are_all_there_are(registry: None) -> None:
    table = (ROOT / "docs/admin.md").read_text().partition("## Permissions")[2]
    documented = set(re.findall(r"`(?:services_registry\.|gateways\.)?([a-z]+_[a-z]+)`", table))
    ours = Permission.objects.filter(content_type__app_label__in=["services_registry", "gateways"])
    assert documented == set(ours.values_list("codename", flat=True))


def test_strangers_are_asked_to_log_in(register: Register) -> None:
    for path in (SERVICES, f"{SERVICES}decide/approve/", "/admin/gateways/livesession/disconnect/"):
        answer = async_to_sync(GatewayClient("internal").get)(path)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/admin/login/")
