"""How tests look at services' sessions."""

from typing import Any

from gateways.gateway import Gateway
from gateways.session import ServiceSession
from gateways.store.service_sessions import StoredServiceSession
from tests.gateways.consumers.client import Client


def session_id(client: Client) -> str:
    return str(client.seen("service_authenticated")[0]["socketId"])


def session_of(gateway: Gateway, client: Client) -> ServiceSession:
    return next(s for s in gateway.service_sessions if s.session_id == session_id(client))


async def listed(gateway: Gateway) -> list[str]:
    return [session.session_id for session in await gateway.service_sessions.all()]


async def nobody_is_left(gateway: Gateway) -> bool:
    """Neither here nor in the store, once all is done that is under way."""
    await gateway.service_sessions.stop()
    return not list(gateway.service_sessions) and not await listed(gateway)


async def open_ghost(gateway: Gateway, ghost_id: str, connected_at_ms: int = 1) -> None:
    """A session that no socket holds."""
    record = StoredServiceSession(ghost_id, "herald", "10.0.0.7", connected_at_ms, 1)
    await gateway.service_sessions._store.open(record)


def fail(error: Exception) -> Any:
    async def failing(*_: Any) -> Any:
        raise error

    return failing
