"""Gateways of this process, and clients of their consumers."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateways.config import Config
from gateways.gateway import Gateway
from tests.conftest import MakeGateway

MakeWith = Callable[..., Awaitable[Gateway]]


@pytest.fixture
def make_with(make_gateway: MakeGateway, config: Config) -> MakeWith:
    """A gateway with some settings changed."""

    async def make(**changes: Any) -> Gateway:
        return await make_gateway(dataclasses.replace(config, **changes))

    return make
