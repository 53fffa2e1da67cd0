"""Real gateways on real sockets, for the protocol's document."""

from tests.e2e.conftest import HERALD_KEY, deployment, name

__all__ = ["HERALD_KEY", "deployment", "name"]
