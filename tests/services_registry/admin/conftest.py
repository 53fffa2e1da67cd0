"""Operators at the admin, on both databases. What a running gateway says is for the test to say."""

import re
from collections.abc import Callable
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.http import HttpResponse

from services_registry import services
from services_registry.models import Service
from tests.django_client import GatewayClient

SERVICES = "/admin/services_registry/service/"
KEY = "a key of eight or more"


class Operator:
    """Somebody with a browser, who is logged in and may do what is named."""

    def __init__(
        self, running: Callable[[], Any] | None, permissions: tuple[str, ...] | None
    ) -> None:
        users = get_user_model().objects
        if permissions is None:
            self.user = users.create_superuser(f"root-{users.count()}")
        else:
            self.user = users.create_user(f"operator-{users.count()}", is_staff=True)
            self.user.user_permissions.set(
                Permission.objects.get(codename=name) for name in permissions
            )
        scope = {"running": running} if running else {}
        self._client = GatewayClient("internal", scope, enforce_csrf_checks=True)
        self._client.force_login(self.user)

    def get(self, path: str, **query: Any) -> Any:
        # In the test's own thread, as all of the database is.
        return async_to_sync(self._client.get)(path, query)

    def post(self, path: str, **data: Any) -> Any:
        """As a form of the admin does, with its token."""
        if "csrftoken" not in self._client.cookies:
            self.get("/admin/")
            self.get("/admin/password_change/")
        token = self._client.cookies["csrftoken"].value
        return async_to_sync(self._client.post)(path, {"csrfmiddlewaretoken": token, **data})

    def confirm(self, question: HttpResponse) -> Any:
        """Presses the button of a decision's page, as that was when it was asked for."""
        page = question.content.decode()
        form = re.search(r'<form method="post" action="([^"]*/decide/[^"]*)"', page)
        assert form, text(question)
        chosen = re.findall(r'name="service" value="([0-9]+)"', page)
        return self.post(unescape(form[1]), service=chosen)

    def messages(self) -> str:
        """What the next page says on top."""
        return text(self.get("/admin/password_change/"))


def text(answer: HttpResponse) -> str:
    """What somebody reads there."""
    unread = r"<(script|style)\b.*?</\1>|<span[^>]*material-symbols[^>]*>[^<]*</span>"
    body = re.sub(unread, " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture
def counts() -> dict[str, int]:
    """Live sessions of each service, as the gateway has them."""
    return {}


@pytest.fixture
def running(counts: dict[str, int]) -> Callable[[], Any]:
    async def count() -> dict[str, int]:
        return counts

    async def running() -> Any:
        return SimpleNamespace(service_sessions=SimpleNamespace(counts=count))

    return running


@pytest.fixture
def root(registry: None, running: Callable[[], Any]) -> Operator:
    """Who may do everything."""
    return Operator(running, None)


@pytest.fixture
def operator(registry: None, running: Callable[[], Any]) -> Callable[..., Operator]:
    """`operator("view_service", ...)`: who may do just that."""
    return lambda *permissions: Operator(running, permissions)


@pytest.fixture
def register(registry: None, settings: Any) -> Callable[..., Service]:
    """A service that registered itself, and waits for approval where `pending`."""

    def make(name: str, *, pending: bool = False) -> Service:
        settings.REQUIRE_SERVICE_APPROVAL = pending
        return services.register(
            name,
            KEY,
            service_type="game",
            origin=Service.Origin.REGISTRATION,
            actor=services.Actor(name, "192.0.2.7"),
        )

    return make
