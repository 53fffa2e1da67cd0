"""Real threads on connections of their own, and one process beside, as two nodes would meet."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Event, Thread

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import Settings

from services_registry import selectors, services
from services_registry.errors import LimitReached, NameTaken, UnknownService
from services_registry.models import Service, ServiceEvent
from services_registry.services import Actor
from tests.services_registry.conftest import at_once, on_own_connection

OPERATOR = Actor("olga")
THREADS = 8


def registration(name: str, key: str = "the-key-of-billing") -> Callable[[], Service]:
    return partial(
        services.register,
        name,
        key,
        service_type="game",
        origin=Service.Origin.REGISTRATION,
        actor=Actor(name),
    )


def outcomes(results: list[Service | Exception]) -> Counter[type]:
    return Counter(type(result) for result in results)


def test_one_of_two_registrations_of_a_name_wins(registry: None) -> None:
    for round_number in range(5):
        name = f"billing-{round_number}"
        keys = [f"key-number-{n}" for n in range(THREADS)]
        results = at_once(*(registration(name, key) for key in keys))
        assert outcomes(results) == {Service: 1, NameTaken: THREADS - 1}
        winner = next(n for n, result in enumerate(results) if isinstance(result, Service))
        assert [bool(selectors.find_by_credentials(name, key)) for key in keys] == [
            n == winner for n in range(THREADS)
        ]
        assert ServiceEvent.objects.filter(service_name=name).count() == 1


def test_no_more_are_registered_than_may_be(registry: None, settings: Settings) -> None:
    settings.MAX_SERVICES = 3
    results = at_once(*(registration(f"service-{n}") for n in range(THREADS)))
    assert outcomes(results) == {Service: 3, LimitReached: THREADS - 3}
    assert Service.objects.count() == ServiceEvent.objects.count() == 3


def test_a_change_waits_for_the_one_that_is_under_way(registry: None) -> None:
    """An edit that read the service before it was disabled does not enable it again."""
    registration("billing")()
    edited, disabled = Event(), Event()

    def disable() -> None:
        edited.wait(5)
        services.disable("billing", OPERATOR)
        disabled.set()

    thread = Thread(target=on_own_connection, args=(disable,))
    thread.start()
    with transaction.atomic():
        services.edit(
            "billing", OPERATOR, service_type="mail", description="edited", metadata={"a": 1}
        )
        edited.set()
        assert not disabled.wait(0.3)
    thread.join(5)
    assert disabled.is_set()
    service = selectors.get("billing")
    assert (service.enabled, service.description) == (False, "edited")


def test_no_change_is_lost_among_many(registry: None) -> None:
    service = registration("billing")()

    def edit(number: int) -> None:
        services.edit(
            "billing", OPERATOR, service_type="game", description=f"{number}", metadata={}
        )

    changes: list[Callable[[], object]] = [
        lambda: services.disable("billing", OPERATOR),
        lambda: services.reject("billing", OPERATOR),
        lambda: services.rotate_key("billing", OPERATOR),
        lambda: services.note_authentication(service.name),
        *(partial(edit, number) for number in range(4)),
    ]
    results = at_once(*changes)
    assert not [result for result in results if isinstance(result, Exception)]
    service.refresh_from_db()
    assert not service.enabled
    assert service.approval == Service.Approval.REJECTED
    assert len(service.key_hashes) == 2
    assert service.last_authenticated_at is not None
    assert ServiceEvent.objects.filter(kind=ServiceEvent.Kind.EDITED).count() == 4


def test_newcomers_and_changes_do_not_lock_each_other_out(registry: None) -> None:
    """A lock of the table and those of its rows would meet in either order."""
    registration("demo")()
    bring_in = partial(services.bring_in, "demo", service_type="game", description="")

    def change() -> None:
        for _ in range(5):
            services.disable("demo", OPERATOR)
            services.enable("demo", OPERATOR)

    def rekey(number: int) -> None:
        for n in range(5):
            bring_in(f"key-{number}-{n}")

    start = time.monotonic()
    results = at_once(*[change] * 3, *(partial(rekey, n) for n in range(3)), registration("other"))
    assert not [result for result in results if isinstance(result, Exception)]
    assert time.monotonic() - start < 10


def test_refusals_are_recorded_while_the_service_is_deleted(registry: None) -> None:
    for _ in range(5):
        registration("billing")()
        results = at_once(
            lambda: services.delete("billing", OPERATOR),
            *[lambda: services.record_refusals("billing", 2, Actor("billing"))] * 3,
        )
        assert not [result for result in results if isinstance(result, Exception)]
    refused = ServiceEvent.objects.filter(kind=ServiceEvent.Kind.REFUSED)
    assert refused.count() == 15
    assert not refused.filter(service__isnull=False).exists()


def test_one_of_two_deletions_finds_nobody(registry: None) -> None:
    registration("billing")()
    results = at_once(*[lambda: services.delete("billing", OPERATOR)] * 4)
    assert Counter(type(result) for result in results) == {type(None): 1, UnknownService: 3}


def test_an_edit_of_one_that_is_being_deleted_finds_nobody(registry: None) -> None:
    registration("billing")()
    results = at_once(
        lambda: services.delete("billing", OPERATOR),
        lambda: services.disable("billing", OPERATOR),
    )
    assert results[0] is None
    assert isinstance(results[1], Service | UnknownService)
    assert not Service.objects.exists()


@pytest.mark.usefixtures("registry")
def test_sqlite_takes_the_write_lock_when_a_transaction_begins() -> None:
    """Which is why nothing more is done about races on SQLite."""
    if connection.vendor != "sqlite":
        return
    program = f"""if True:
        import sqlite3
        other = sqlite3.connect({str(connection.settings_dict["NAME"])!r}, timeout=0)
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            print(error)
    """
    with transaction.atomic():
        Service.objects.select_for_update().filter(name="nobody").first()
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20
        )
    assert run.stdout == "database is locked\n"
