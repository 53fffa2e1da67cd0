"""Services' sessions: what begins them, and what ends them."""

import dataclasses
from functools import partial
from typing import Any

import pytest

from gateways.config import Config
from gateways.domain.service_sessions import REVOKED
from gateways.gateway import Gateway
from gateways.protocol.errors import AuthenticationFailed, Unavailable
from gateways.session import ServiceIdentity
from gateways.store.errors import StoreUnavailable
from gateways.store.service_sessions import StoredServiceSession
from services_registry import services
from services_registry.models import Service
from tests.conftest import MakeGateway
from tests.gateways.consumers.client import connect_internal, connect_service, until
from tests.gateways.service_sessions import (
    fail,
    listed,
    nobody_is_left,
    open_ghost,
    session_id,
    session_of,
)
from tests.gateways.services import OPERATOR, on_thread

pytestmark = pytest.mark.usefixtures("services_database", "bank")


@pytest.fixture
def config(config: Config) -> Config:
    """Nothing happens but what the test does."""
    return dataclasses.replace(config, node_lease_seconds=3000, reconcile_interval_seconds=3000)


class Unheard:
    """Changes in the registry of which no notice comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services_registry.notices.send_after_commit", lambda _: None)

    async def __call__(self, change: Any, name: str = "herald") -> None:
        await on_thread(change, name, OPERATOR)


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Unheard:
    return Unheard(monkeypatch)


# --- a session's life -----------------------------------------------------------------------------


async def test_a_session_is_listed_from_its_beginning_to_its_end(
    gateway: Gateway, herald: Service
) -> None:
    async with connect_service(gateway, "herald", address="10.0.0.7") as client:
        (stored,) = await gateway.service_sessions.all()
        session = session_of(gateway, client)
        assert stored == StoredServiceSession(
            session_id=session_id(client),
            service_name="herald",
            address="10.0.0.7",
            connected_at_ms=session.connected_at_ms,
            last_activity_ms=stored.last_activity_ms,
        )
        assert stored.node_id == gateway.node_id
        assert session.life
    assert await nobody_is_left(gateway)
    await on_thread(herald.refresh_from_db)
    assert herald.last_authenticated_at is not None


async def test_sessions_of_all_nodes_are_listed_and_counted(
    make_gateway: MakeGateway, herald: Service
) -> None:
    one, other = await make_gateway(), await make_gateway()
    await open_ghost(one, "oldest.1")
    async with (
        connect_service(one, "herald"),
        connect_service(other, "herald"),
        connect_service(other, "bank"),
    ):
        for gateway in (one, other):
            stored = await gateway.service_sessions.all()
            assert stored[0].session_id == "oldest.1"
            moments = [session.connected_at_ms for session in stored]
            assert moments == sorted(moments)
            assert await gateway.service_sessions.counts() == {"herald": 3, "bank": 1}
        assert [len(list(g.service_sessions)) for g in (one, other)] == [1, 2]


@pytest.mark.parametrize("when", ["before it looks", "after it looked"])
async def test_who_is_shut_out_while_it_comes_in_does_not_slip_past(
    gateway: Gateway,
    herald: Service,
    monkeypatch: pytest.MonkeyPatch,
    unheard: Unheard,
    when: str,
) -> None:
    """Its key was found right already. Between the look and the notice there is no gap."""
    real = gateway.registry.current
    looks = 0

    async def current(service: ServiceIdentity) -> ServiceIdentity | None:
        nonlocal looks
        looks += 1
        held = await real(service) if when == "after it looked" else None
        if looks == 1:
            await unheard(services.disable)
            gateway.service_sessions.on_changed("herald")
        return await real(service) if held is None else held

    monkeypatch.setattr(gateway.registry, "current", current)
    async with connect_internal(gateway) as client:
        reply = await client.authenticate_service("herald")
        assert await client.closed() == 4403
        if when == "before it looks":
            assert (reply["code"], reply["error"]) == ("forbidden", REVOKED)
    assert await nobody_is_left(gateway)


@pytest.mark.usefixtures("herald")
@pytest.mark.parametrize(
    ("part", "error", "code"),
    [
        ("_store.open", StoreUnavailable(), "unavailable"),
        ("_registry.current", Unavailable("away"), "unavailable"),
        ("_registry.current", ZeroDivisionError(), "internal_error"),
    ],
)
async def test_what_could_not_begin_leaves_nothing_behind(
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    error: Exception,
    code: str,
) -> None:
    owner, name = part.split(".")
    monkeypatch.setattr(getattr(gateway.service_sessions, owner), name, fail(error))
    async with connect_internal(gateway) as client:
        assert (await client.authenticate_service("herald"))["code"] == code
        assert await nobody_is_left(gateway)
        monkeypatch.undo()
    assert client.close_code is None


async def test_a_store_that_is_away_holds_up_nobody_who_leaves(
    gateway: Gateway,
    herald: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connect_service(gateway, "herald") as client:
        session = session_of(gateway, client)
        with monkeypatch.context() as patch:
            patch.setattr(gateway.service_sessions._store, "close", fail(StoreUnavailable()))
            gateway.service_sessions.leave(session)
            gateway.service_sessions.leave(session)
            await gateway.service_sessions.stop()
        assert caplog.text.count("service session left in the store") == 1
    await gateway.service_sessions.reconcile()
    assert await listed(gateway) == []


# --- what operators decide ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        services.disable,
        services.reject,
        services.delete,
        partial(services.replace_key, key="another key of the tests"),
    ],
    ids=["disable", "reject", "delete", "replace_key"],
)
async def test_a_notice_ends_the_sessions_of_its_service_on_every_node(
    make_gateway: MakeGateway, herald: Service, change: Any
) -> None:
    one, other = await make_gateway(), await make_gateway()
    await until(lambda: one.mailbox._noticing and other.mailbox._noticing)
    async with (
        connect_service(one, "herald") as here,
        connect_service(other, "herald") as there,
        connect_service(other, "bank") as bank,
    ):
        await on_thread(change, "herald", actor=OPERATOR)
        assert [await here.closed(), await there.closed()] == [4403, 4403]
        assert "service" in await bank.request("ping")


async def test_the_registry_is_asked_once_a_key_and_only_about_who_is_here(
    gateway: Gateway, herald: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = gateway.registry.current
    asked: list[str] = []

    async def current(service: ServiceIdentity) -> ServiceIdentity | None:
        asked.append(service.name)
        return await real(service)

    async with (
        connect_service(gateway, "herald") as one,
        connect_service(gateway, "herald") as two,
        connect_service(gateway, "bank"),
    ):
        monkeypatch.setattr(gateway.registry, "current", current)
        gateway.service_sessions.on_changed("elsewhere")
        gateway.service_sessions.on_changed("herald")
        await gateway.service_sessions.stop()
        assert asked == ["herald"]
        new_key = await on_thread(services.rotate_key, "herald", OPERATOR)
        assert "serviceName" in await two.authenticate_service("herald", new_key)
        asked.clear()
        await gateway.service_sessions.reconcile()
        assert sorted(asked) == ["bank", "herald", "herald"]
        await on_thread(services.drop_previous_key, "herald", OPERATOR)
        await gateway.service_sessions.reconcile()
        assert await one.closed() == 4403  # the old key's
        assert "service" in await two.request("ping")


async def test_a_session_goes_on_as_what_operators_made_of_its_service(
    gateway: Gateway, herald: Service
) -> None:
    await until(lambda: gateway.mailbox._noticing)
    async with connect_service(gateway, "herald") as client:
        await on_thread(
            services.edit,
            "herald",
            OPERATOR,
            service_type="late news",
            description="",
            metadata={"desk": 4},
        )

        async def is_known() -> bool:
            pinged = (await client.request("ping"))["service"]
            return (pinged["type"], pinged["metadata"]) == ("late news", {"desk": 4})

        await until(is_known)


async def test_a_registry_that_does_not_answer_ends_nobody(
    gateway: Gateway, herald: Service, monkeypatch: pytest.MonkeyPatch, unheard: Unheard
) -> None:
    async with connect_service(gateway, "herald") as client:
        await unheard(services.disable)
        with monkeypatch.context() as patch:
            patch.setattr(gateway.registry, "current", fail(Unavailable("away")))
            gateway.service_sessions.on_changed("herald")
            await gateway.service_sessions.reconcile()
            await gateway.service_sessions.stop()
            assert "service" in await client.request("ping")
        await gateway.service_sessions.reconcile()
        assert await client.closed() == 4403


async def test_a_renewal_that_is_refused_says_so(
    gateway: Gateway, herald: Service, unheard: Unheard
) -> None:
    async with connect_service(gateway, "herald") as client:
        session = session_of(gateway, client)
        await unheard(services.disable)
        with pytest.raises(AuthenticationFailed) as caught:
            await gateway.service_sessions.renew(session, session.service)
        assert (caught.value.code, caught.value.close_code) == ("forbidden", 4403)


async def test_a_session_is_ended_wherever_it_is(
    make_gateway: MakeGateway, herald: Service
) -> None:
    one, other = await make_gateway(), await make_gateway()
    async with connect_service(other, "herald") as ended, connect_service(other, "herald") as stays:
        disconnect = one.service_sessions.disconnect
        assert await disconnect(session_id(ended), "By an operator.")
        assert await ended.closed() == 4403
        assert not await disconnect(session_id(ended), "By an operator.")
        assert not await disconnect("nowhere", "By an operator.")
        assert await listed(one) == [session_id(stays)]
        assert "service" in await stays.request("ping")
