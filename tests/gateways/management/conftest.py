"""Operators' commands: most in this process, on the test's own keys of the real Valkey; those that
need a gateway or a terminal as processes.
"""

import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from gateways.config import Config
from tests.e2e.conftest import (  # noqa: F401 - pytest finds fixtures by their names here
    Deploy,
    deploy,
    deployment,
    name,
)
from tests.e2e.gateways import GatewayProcess

ROOT = Path(__file__).parents[3]


class Manage:
    """manage.py as a process, in a gateway's environment."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.command = [sys.executable, "manage.py"]

    def run(
        self, *arguments: str, given: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *arguments],
            cwd=ROOT,
            env={**self.gateway.environment, **variables},
            input=given,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )


@pytest.fixture(scope="module")
def manage(deploy: Deploy) -> Manage:  # noqa: F811
    """On one gateway for the tests that do it no harm; each has users of its own."""
    return Manage(deploy().start())


Command = Callable[..., str]


@pytest.fixture
def command(settings: Settings, config: Config, tmp_path: Path) -> Command:
    """Runs a command on the test's store. Returns what it wrote to its standard output."""
    settings.REDIS_URL = config.redis_url
    settings.REDIS_PREFIX = config.redis_prefix
    settings.DATA_DIR = tmp_path / "var"
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [config.redis_url], "prefix": config.redis_prefix},
        }
    }

    def run(*arguments: str) -> str:
        out = StringIO()
        call_command(*arguments, stdout=out)
        return out.getvalue()

    return run
