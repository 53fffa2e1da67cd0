"""The list of services: what an operator sees at a glance, and finds."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from services_registry import services
from services_registry.models import Service
from tests.services_registry.admin.conftest import SERVICES, Operator, text

Register = Callable[..., Service]
ROOT = services.Actor("root")


def test_state_type_live_sessions_and_last_seen(
    root: Operator, register: Register, counts: dict[str, int]
) -> None:
    register("herald")
    register("idle")
    services.note_authentication("herald")
    counts["herald"] = 3
    page = text(root.get(SERVICES))
    year = timezone.now().year
    assert re.search(rf"herald enabled game 3 \w+\.? \d+, {year}", page)
    assert "idle enabled game 0 never Registration" in page


def test_pending_ones_are_counted_in_the_menu(root: Operator, register: Register) -> None:
    register("first", pending=True)
    register("second", pending=True)
    assert "Services 2 Live sessions" in text(root.get("/admin/"))
    services.approve("first", ROOT)
    services.reject("second", ROOT)
    assert "Services Live sessions" in text(root.get("/admin/"))


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("pending", {"waiting"}),
        ("enabled", {"running"}),
        ("disabled", {"switched-off"}),
        ("rejected", {"unwanted"}),
    ],
)
def test_filters_by_state(root: Operator, register: Register, state: str, shown: set[str]) -> None:
    register("waiting", pending=True)
    register("unwanted", pending=True)
    services.reject("unwanted", ROOT)
    register("running")
    register("switched-off")
    services.disable("switched-off", ROOT)
    found = root.get(SERVICES, state=state)
    assert {service.name for service in result_list(found)} == shown


def test_is_searched_by_name_type_and_description(root: Operator, register: Register) -> None:
    register("herald")
    register("other")
    services.edit("other", ROOT, service_type="stats", description="Counts heralds", metadata={})
    assert {each.name for each in result_list(root.get(SERVICES, q="herald"))} == {
        "herald",
        "other",
    }
    assert {each.name for each in result_list(root.get(SERVICES, q="stats"))} == {"other"}


def test_a_store_that_is_away_leaves_the_rest_of_the_page(register: Register) -> None:
    async def away() -> Any:
        raise RuntimeError("the store does not answer")

    register("herald")
    operator = Operator(away, None)
    assert "herald enabled game unknown never" in text(operator.get(SERVICES))
    pk = Service.objects.get().pk
    assert "Live sessions unknown" in text(operator.get(f"{SERVICES}{pk}/change/"))


def test_a_store_that_hangs_is_not_waited_for(register: Register, settings: Any) -> None:
    async def hangs() -> Any:
        await asyncio.Event().wait()

    settings.REDIS_TIMEOUT = 0.05
    register("herald")
    assert "herald enabled game unknown" in text(Operator(hangs, None).get(SERVICES))


def result_list(answer: Any) -> list[Service]:
    found: list[Service] = answer.context_data["cl"].result_list
    return found
