"""A gateway's registry, on the test's own database."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import OperationalError

from gateways.config import Config
from gateways.domain.registry import Registry
from services_registry import selectors, services
from services_registry.models import Service
from tests.conftest import MakeGateway
from tests.gateways import services as theirs
from tests.gateways.services import Held

MakeRegistry = Callable[..., Awaitable[Registry]]


@pytest.fixture
def make_registry(make_gateway: MakeGateway, config: Config) -> MakeRegistry:
    """A gateway's, with some settings changed."""

    async def make(**changes: Any) -> Registry:
        return (await make_gateway(dataclasses.replace(config, **changes), start=False)).registry

    return make


@pytest.fixture
async def registry(make_registry: MakeRegistry) -> Registry:
    return await make_registry()


@pytest.fixture
def herald(services_database: None) -> Service:
    return theirs.add("herald", service_type="news", metadata={"desk": 3})


@pytest.fixture
def bank(services_database: None) -> Service:
    return theirs.add("bank")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """The look for a key, which goes on when the test says so."""
    held = Held(selectors.find_by_credentials)
    monkeypatch.setattr(selectors, "find_by_credentials", held)
    return held


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on the database fails."""

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("server closed the connection at 10.0.0.9")

    def break_it() -> None:
        for owner, name in (
            (selectors, "_find"),
            (selectors, "approved"),
            (selectors, "types"),
            (services, "note_authentication"),
            (services, "record_refusals"),
            (services, "register"),
        ):
            monkeypatch.setattr(owner, name, fail)

    return break_it
