"""docker-compose.yml, read as Docker reads it."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.e2e.gateways import ROOT

FILE = ROOT / "docker-compose.yml"
GATEWAYS = ("gateway-1", "gateway-2")
#: What `--profile monitoring` adds.
MONITORING = ("prometheus", "grafana")
SECRETS = {
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "SECRET_KEY": "a key for the tests, of which nothing hangs",
    "VALKEY_PASSWORD": "0123456789abcdef",
    "POSTGRES_PASSWORD": "fedcba9876543210",
    "GRAFANA_PASSWORD": "0011223344556677",
}
#: ${NAME}, ${NAME:-default} and ${NAME:?why it must be given}.
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class Missing(Exception):
    """A variable that .env does not hold, and has to."""


def load(env: Mapping[str, str] = SECRETS) -> dict[str, Any]:
    """The whole file, for an .env of these variables."""
    project: dict[str, Any] = _interpolate(yaml.safe_load(FILE.read_text()), env)
    return project


def _interpolate(node: Any, env: Mapping[str, str]) -> Any:
    match node:
        case dict():
            return {key: _interpolate(value, env) for key, value in node.items()}
        case list():
            return [_interpolate(value, env) for value in node]
        case str():
            return VARIABLE.sub(lambda variable: _value(variable, env), node)
    return node


def _value(variable: re.Match[str], env: Mapping[str, str]) -> str:
    name, operator, text = variable.groups()
    if given := env.get(name):
        return given
    if operator == "?":
        raise Missing(f"{name}: {text}")
    return text or ""
