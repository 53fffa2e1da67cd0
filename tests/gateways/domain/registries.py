"""How tests ask a registry."""

from typing import Any

import pytest

from gateways.domain.registry import Registry
from gateways.protocol.errors import AuthenticationFailed
from services_registry.models import Service
from tests.gateways.services import KEY

HERE, THERE = "10.0.0.7", "10.0.0.8"
WRONG = "not the key of the tests"


async def refusal(registry: Registry, name: str, key: str = KEY) -> tuple[str, str, int]:
    with pytest.raises(AuthenticationFailed) as caught:
        await registry.authenticate(name, key, HERE)
    return str(caught.value), caught.value.code, caught.value.close_code


async def register(registry: Registry, name: str, key: str = KEY, **fields: Any) -> Service:
    return await registry.register(
        name,
        key,
        **{
            "service_type": "test",
            "description": "",
            "metadata": {},
            "address": HERE,
            **fields,
        },
    )
