"""A consumer and its session are gone with their socket, without the collector's help."""

import gc
import weakref
from collections.abc import Iterator
from typing import cast

import pytest

from gateways.consumers.base import GatewayConsumer
from gateways.gateway import Gateway
from services_registry.models import Service
from tests.gateways.consumers.client import connect_as, connect_service, until


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Held:
    """The one consumer that a gateway has, and its session."""

    def __init__(self, gateway: Gateway) -> None:
        (consumer,) = gateway.connections
        # Its session holds the way out as well.
        outbound = cast("GatewayConsumer", consumer).outbound
        self._references = weakref.ref(consumer), weakref.ref(outbound)

    def gone(self) -> bool:
        return all(reference() is None for reference in self._references)


@pytest.mark.usefixtures("collector_off")
async def test_a_users(gateway: Gateway) -> None:
    async with connect_as(gateway, "alice") as client:
        held = Held(gateway)
        await client.request("ping")
        assert not held.gone()
    del client
    await until(held.gone, "both to be gone")


@pytest.mark.usefixtures("collector_off")
async def test_a_services(gateway: Gateway, herald: Service) -> None:
    async with connect_service(gateway, herald.name) as client:
        held = Held(gateway)
        await client.request("ping")
        assert not held.gone()
    del client
    await until(held.gone, "both to be gone")
