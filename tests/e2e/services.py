"""What tests of the platform's services need besides a client."""

import asyncio
import json
from typing import Any

from tests.e2e.client import Client, connect, eventually
from tests.e2e.gateways import Deployment, GatewayProcess

KEY = "a key of the tests"


async def register(client: Client, service_name: str, **data: Any) -> Any:
    return await client.request(
        "register_service",
        {
            "serviceName": service_name,
            "serviceKey": KEY,
            "serviceType": "test",
            "description": "of a test",
            **data,
        },
    )


async def registered(gateway: GatewayProcess, service_name: str) -> None:
    async with connect(gateway.internal_url) as client:
        assert (await register(client, service_name))["status"] == "success"


def sessions_of(deployment: Deployment, service_name: str) -> int:
    with deployment.valkey.client() as redis:
        records = redis.hvals(deployment.keys.service_sessions)
        return sum(json.loads(r.split(b"|", 1)[1])["service_name"] == service_name for r in records)


async def manage(gateway: GatewayProcess, *arguments: str) -> str:
    """As gateways are not to wait for it, neither do the sockets of the test."""
    return await asyncio.to_thread(gateway.manage, *arguments)


async def eventually_none(deployment: Deployment, service_name: str) -> None:
    async def none_left() -> bool:
        return sessions_of(deployment, service_name) == 0

    await eventually(none_left, f"{service_name} to have no session in the store")
