"""A gateway's registry, on the test's own database."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateways.config import Config
from gateways.domain.registry import Registry
from tests.conftest import MakeGateway

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
